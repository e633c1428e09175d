//! A small JSON Schema checker, strict in two ways: a keyword that it does not know is an error, and so is a property
//! that the schema does not name. What ghostpin answers is to be documented to the last field.

use serde_json::Value;

/// Says what is wrong with `value`; `document` resolves references.
pub(super) fn check(document: &Value, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    let schema = schema.as_object().ok_or_else(|| format!("{at}: the schema is no object"))?;
    let wrong = |why: String| Err(format!("{at}: {why}: {value}"));
    for (keyword, wanted) in schema {
        match keyword.as_str() {
            "description" => {}
            "$ref" => check(document, resolve(document, wanted)?, value, at)?,
            "type" => {
                let one = |wanted: &Value| is_of_type(wanted.as_str().unwrap_or_default(), value);
                let fits = wanted.as_array().map_or_else(|| one(wanted), |all| all.iter().any(one));
                if !fits {
                    return wrong(format!("is not {wanted}"));
                }
            }
            "enum" => {
                if !wanted.as_array().is_some_and(|all| all.contains(value)) {
                    return wrong(format!("is none of {wanted}"));
                }
            }
            "minimum" | "maximum" => {
                let (Some(number), Some(limit)) = (value.as_f64(), wanted.as_f64()) else { continue };
                if (keyword == "minimum" && number < limit) || (keyword == "maximum" && number > limit) {
                    return wrong(format!("{keyword} is {limit}"));
                }
            }
            "anyOf" => {
                let all = wanted.as_array().ok_or("anyOf is no list")?;
                if !all.iter().any(|schema| check(document, schema, value, at).is_ok()) {
                    return wrong(format!("is none of {wanted}"));
                }
            }
            "items" => {
                for (place, item) in value.as_array().into_iter().flatten().enumerate() {
                    check(document, wanted, item, &format!("{at}/{place}"))?;
                }
            }
            "required" => {
                for name in wanted.as_array().into_iter().flatten().filter_map(Value::as_str) {
                    if value.is_object() && value.get(name).is_none() {
                        return wrong(format!("lacks `{name}`"));
                    }
                }
            }
            "properties" => {
                let open = schema.get("additionalProperties") == Some(&Value::Bool(true));
                for (name, property) in value.as_object().into_iter().flatten() {
                    match wanted.get(name) {
                        Some(schema) => check(document, schema, property, &format!("{at}/{name}"))?,
                        None if open => {}
                        None => return wrong(format!("`{name}` is not documented")),
                    }
                }
            }
            "additionalProperties" if wanted.is_boolean() => {}
            other => return Err(format!("{at}: the keyword `{other}` is not known here")),
        }
    }
    Ok(())
}

/// Follows `#/components/...`.
pub(super) fn resolve<'d>(document: &'d Value, reference: &Value) -> Result<&'d Value, String> {
    let pointer = reference.as_str().and_then(|reference| reference.strip_prefix('#'));
    pointer.and_then(|pointer| document.pointer(pointer)).ok_or_else(|| format!("{reference} leads nowhere"))
}

fn is_of_type(name: &str, value: &Value) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        _ => false,
    }
}

#[test]
fn the_checker_refuses_what_does_not_fit() {
    use serde_json::json;
    let document = json!({"n": {"type": ["integer", "null"], "minimum": 1}});
    let schema = json!({
        "type": "object", "required": ["a"],
        "properties": {"a": {"$ref": "#/n"}, "b": {"type": "array", "items": {"enum": ["x"]}}}
    });
    let fits = |value: Value| check(&document, &schema, &value, "");
    assert_eq!(fits(json!({"a": 1, "b": ["x"]})), Ok(()));
    assert_eq!(fits(json!({"a": null})), Ok(()));
    for wrong in
        [json!({}), json!([]), json!({"a": 0}), json!({"a": "1"}), json!({"a": 1.5}), json!({"a": 1, "c": 1})]
    {
        assert!(fits(wrong.clone()).is_err(), "{wrong}");
    }
    assert!(fits(json!({"a": 1, "b": ["y"]})).is_err());
    assert!(check(&document, &json!({"oneOf": []}), &json!(1), "").is_err(), "an unknown keyword");
    assert!(check(&document, &json!({"$ref": "#/m"}), &json!(1), "").is_err(), "a dangling reference");
}
