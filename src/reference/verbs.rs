//! The command line, by its own definition.

use super::{code, table};
use crate::cli::manual::{options, verbs};

pub(super) fn told() -> String {
    let mut text = "\n## Command line\n".to_owned();
    for verb in verbs() {
        let arguments = options(&verb);
        let about = verb.get_about().map(ToString::to_string).unwrap_or_default();
        text += &format!("\n### `ghostpin {}`\n\n{about}\n", verb.get_name());
        if arguments.is_empty() {
            continue;
        }
        let rows = arguments.iter().map(|argument| {
            let value = argument.get_num_args().is_none_or(|count| count.takes_values());
            let names: Vec<&str> =
                argument.get_value_names().unwrap_or_default().iter().map(|name| name.as_str()).collect();
            let names = if value { names.join(" ") } else { String::new() };
            let name = argument
                .get_long()
                .map_or_else(|| names.clone(), |long| format!("--{long} {names}").trim_end().to_owned());
            let defaults: Vec<String> =
                argument.get_default_values().iter().map(|value| code(&value.to_string_lossy())).collect();
            let defaults = if value { defaults.join(", ") } else { String::new() };
            let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
            vec![code(&name), defaults, help]
        });
        text += &format!("\n{}", table(&["Argument", "Default", "Meaning"], rows));
    }
    text
}
