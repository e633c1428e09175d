use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use super::*;
use crate::core::SiteName;

mod crash;

fn pin(epoch: u64, backend: &str) -> Pin {
    Pin { epoch: Epoch(epoch), backend: backend.parse().unwrap() }
}

fn site(name: &str) -> SiteName {
    SiteName::from(name)
}

fn open(state: &Path) -> Opened {
    PinStore::open(state, false).unwrap()
}

/// A store with a few commits, closed cleanly or left as a killed process leaves it.
fn used_store(state: &Path, cleanly: bool) -> Vec<(SiteName, Pin)> {
    let elsewhere = state.with_extension("living");
    let made_in = if cleanly { state } else { &elsewhere };
    let mut store = open(made_in).store;
    let mut newest = Vec::new();
    for epoch in 1..=3 {
        newest = (0..40)
            .map(|n| (site(&format!("s{n}")), pin(epoch, &format!("127.0.0.1:{}", 2000 + n))))
            .collect();
        store.commit(&newest).unwrap();
    }
    if !cleanly {
        fs::create_dir(state).unwrap();
        for entry in fs::read_dir(made_in).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), state.join(entry.file_name())).unwrap();
        }
    }
    newest
}

fn names_in(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_first_start_makes_the_folder_and_counts_from_one() {
    let home = tempfile::tempdir().unwrap();
    let state = home.path().join("state");
    let mut opened = open(&state);
    assert_eq!(opened.origin, Origin::FirstStart);
    assert_eq!(opened.first_epoch, Epoch(1));
    assert_eq!(opened.store.read_all().unwrap().len(), 0);
    assert_eq!(names_in(home.path()), ["state"]);
}

#[test]
fn who_takes_a_store_over_makes_no_first_start() {
    let home = tempfile::tempdir().unwrap();
    let state = home.path().join("state");
    let error = PinStore::open_again(&state).unwrap_err();
    assert!(matches!(error, StoreError::Gone { .. }), "{error}");
    assert_eq!(names_in(home.path()), [""; 0]);
    let folder = open(&state).store.folder();
    assert_eq!(PinStore::open_again(&state).unwrap().store.folder(), folder);
    assert_eq!(FolderId::at(&home.path().join("./state/")), Some(folder));
    assert_ne!(FolderId::at(home.path()), Some(folder));
}

#[test]
fn what_was_committed_is_there_after_a_restart() {
    for cleanly in [true, false] {
        let home = tempfile::tempdir().unwrap();
        let state = home.path().join("state");
        let newest = used_store(&state, cleanly);
        let mut opened = open(&state);
        assert_eq!(opened.origin, Origin::Found);
        assert_eq!(opened.first_epoch, Epoch(1));
        assert_eq!(opened.store.read_all().unwrap(), newest.into_iter().collect());
    }
}

#[test]
fn every_form_of_a_backend_is_stored_as_it_is() {
    let home = tempfile::tempdir().unwrap();
    let state = home.path().join("state");
    let pins = [
        (site("v4"), pin(1, "127.0.0.1:2368")),
        (site("v6"), pin(u64::MAX, "[::1]:2368")),
        (site("unix"), pin(2, "unix:/run/ghost.sock")),
        (
            site("name ä"),
            Pin {
                epoch: Epoch(3),
                backend: crate::core::Backend::resolved("g:1", "10.0.0.5:1".parse().unwrap()),
            },
        ),
    ];
    open(&state).store.commit(&pins).unwrap();
    assert_eq!(open(&state).store.read_all().unwrap(), pins.into_iter().collect());
}

#[test]
fn an_older_pin_or_another_backend_of_the_same_epoch_is_refused_and_the_others_are_not() {
    let home = tempfile::tempdir().unwrap();
    let state = home.path().join("state");
    let mut store = open(&state).store;
    let (a, b) = ("127.0.0.1:1", "127.0.0.1:2");
    store.commit(&[(site("x"), pin(5, a)), (site("y"), pin(5, a)), (site("z"), pin(5, a))]).unwrap();
    let outcomes = store
        .commit(&[
            (site("x"), pin(4, b)),
            (site("y"), pin(5, b)),
            (site("z"), pin(5, a)),
            (site("new"), pin(9, b)),
            (site("x"), pin(6, b)),
            (site("x"), pin(5, a)),
        ])
        .unwrap();
    let refused = |epoch, backend| Outcome::Refused { stored: pin(epoch, backend) };
    let expected =
        [refused(5, a), refused(5, a), Outcome::Durable, Outcome::Durable, Outcome::Durable, refused(6, b)];
    assert_eq!(outcomes, expected);
    drop(store);
    let pins = open(&state).store.read_all().unwrap();
    let expected = [("new", pin(9, b)), ("x", pin(6, b)), ("y", pin(5, a)), ("z", pin(5, a))];
    assert_eq!(pins, expected.into_iter().map(|(name, pin)| (site(name), pin)).collect());
}

#[test]
fn a_store_has_one_owner_at_a_time() {
    let home = tempfile::tempdir().unwrap();
    let state = home.path().join("state");
    let opened = open(&state);
    for adopt in [false, true] {
        assert!(matches!(PinStore::open(&state, adopt), Err(StoreError::InUse { .. })));
    }
    drop(opened);
    open(&state);
}

#[test]
fn a_folder_without_a_store_is_a_loss_and_not_a_first_start() {
    let home = tempfile::tempdir().unwrap();
    let state = home.path().join("state");
    used_store(&state, true);
    fs::remove_file(state.join("pins.redb")).unwrap();
    let error = PinStore::open(&state, false).unwrap_err();
    assert!(matches!(error, StoreError::Lost { .. }), "{error}");
    assert!(error.to_string().contains("--adopt"), "{error}");

    let before = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let opened = PinStore::open(&state, true).unwrap();
    assert_eq!(opened.origin, Origin::Adopted { set_aside: None });
    assert!(opened.first_epoch >= Epoch(before), "{}", opened.first_epoch);
    // Also for sites that are added after later restarts.
    let first_epoch = opened.first_epoch;
    drop(opened);
    assert_eq!(open(&state).first_epoch, first_epoch);
}

#[test]
fn an_empty_folder_is_a_loss_and_a_missing_parent_is_no_first_start() {
    let home = tempfile::tempdir().unwrap();
    assert!(matches!(PinStore::open(home.path(), false), Err(StoreError::Lost { .. })));
    let nowhere = home.path().join("not mounted").join("state");
    assert!(matches!(PinStore::open(&nowhere, false), Err(StoreError::Io { .. })));
    let link = home.path().join("link");
    std::os::unix::fs::symlink(&nowhere, &link).unwrap();
    for adopt in [false, true] {
        assert!(matches!(PinStore::open(&link, adopt), Err(StoreError::Io { .. })));
    }
}

#[test]
fn an_adopted_folder_that_was_lost_as_a_whole_starts_above_the_old_epochs() {
    let home = tempfile::tempdir().unwrap();
    let opened = PinStore::open(&home.path().join("state"), true).unwrap();
    assert!(opened.first_epoch > Epoch(1_700_000_000), "{}", opened.first_epoch);
}

#[test]
fn a_whole_store_is_opened_as_it_is_even_with_adopt() {
    let home = tempfile::tempdir().unwrap();
    let state = home.path().join("state");
    let newest = used_store(&state, true);
    let mut opened = PinStore::open(&state, true).unwrap();
    assert_eq!(opened.origin, Origin::Found);
    assert_eq!(opened.store.read_all().unwrap(), newest.into_iter().collect());
}

#[test]
fn a_damaged_store_is_set_aside_only_on_an_operators_word() {
    let home = tempfile::tempdir().unwrap();
    let state = home.path().join("state");
    let mut first_epochs = vec![Epoch(0)];
    for n in 1..=2 {
        drop(PinStore::open(&state, false));
        fs::write(state.join("pins.redb"), b"no database").unwrap();
        for _ in 0..2 {
            let error = PinStore::open(&state, false).unwrap_err();
            assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
            assert!(error.to_string().contains("--adopt"), "{error}");
        }
        let opened = PinStore::open(&state, true).unwrap();
        let aside = state.join(format!("pins.redb.damaged-{n}"));
        assert_eq!(fs::read(&aside).unwrap(), b"no database");
        assert_eq!(opened.origin, Origin::Adopted { set_aside: Some(aside) });
        first_epochs.push(opened.first_epoch);
    }
    assert!(first_epochs.is_sorted());
}

#[test]
fn an_older_copy_of_the_database_is_noticed() {
    let home = tempfile::tempdir().unwrap();
    let state = home.path().join("state");
    used_store(&state, true);
    let backup = fs::read(state.join("pins.redb")).unwrap();
    open(&state).store.commit(&[(site("s0"), pin(4, "127.0.0.1:9"))]).unwrap();
    fs::write(state.join("pins.redb"), backup).unwrap();
    let error = PinStore::open(&state, false).unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }) && error.to_string().contains("older"), "{error}");
}

#[test]
fn a_missing_or_broken_seal_is_damage() {
    let home = tempfile::tempdir().unwrap();
    let state = home.path().join("state");
    used_store(&state, true);
    let seal = state.join("pins.seal");
    let good = fs::read(&seal).unwrap();
    for broken in [&good[..0], &good[..15], &[0; 16], &[1; 16]] {
        fs::write(&seal, broken).unwrap();
        assert!(matches!(PinStore::open(&state, false), Err(StoreError::Damaged { .. })), "{broken:?}");
    }
    fs::remove_file(&seal).unwrap();
    assert!(matches!(PinStore::open(&state, false), Err(StoreError::Damaged { .. })));
    fs::write(&seal, good).unwrap();
    open(&state);
}

#[test]
fn the_store_of_another_version_is_neither_read_nor_set_aside() {
    use ::redb::{Database, TableDefinition};
    const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
    let home = tempfile::tempdir().unwrap();
    let state = home.path().join("state");
    used_store(&state, true);
    let database = Database::open(state.join("pins.redb")).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(META).unwrap().insert("format", FORMAT + 1).map(drop).unwrap();
    transaction.commit().unwrap();
    drop(database);
    for adopt in [false, true] {
        let error = PinStore::open(&state, adopt).unwrap_err();
        assert!(matches!(error, StoreError::Foreign { format, .. } if format == FORMAT + 1), "{error}");
        let said = error.to_string();
        assert!(said.contains("start the version that wrote it") && !said.contains("--adopt"), "{said}");
    }
}

#[test]
fn an_unreadable_pin_is_damage() {
    use ::redb::{Database, TableDefinition};
    const PINS: TableDefinition<&str, &[u8]> = TableDefinition::new("pins");
    let spoiled_pins: [&[u8]; 4] = [
        b"",
        b"\x01\0\0\0\0\0\0\0",
        b"\x02\x01\0\0\0\0\0\0\x00127.0.0.1:1",
        b"\x01\x01\0\0\0\0\0\0\0nowhere",
    ];
    for pin in spoiled_pins {
        let home = tempfile::tempdir().unwrap();
        let state = home.path().join("state");
        used_store(&state, true);
        let database = Database::open(state.join("pins.redb")).unwrap();
        let transaction = database.begin_write().unwrap();
        transaction.open_table(PINS).unwrap().insert("s7", pin).map(drop).unwrap();
        transaction.commit().unwrap();
        drop(database);
        let error = PinStore::open(&state, false).unwrap_err();
        assert!(matches!(error, StoreError::Damaged { .. }) && error.to_string().contains("`s7`"), "{error}");
    }
}

#[test]
fn a_commit_that_failed_can_be_sent_again() {
    let home = tempfile::tempdir().unwrap();
    let state = home.path().join("state");
    let mut store = open(&state).store;
    store.commit(&[(site("a"), pin(1, "127.0.0.1:1"))]).unwrap();
    let (seal, away) = (state.join("pins.seal"), home.path().join("away"));
    // A commit that fails gives up its handle on the file; without its seal it can't be had again.
    store.forget_database();
    fs::rename(&seal, &away).unwrap();
    let newer = [(site("a"), pin(2, "127.0.0.1:2"))];
    assert!(store.commit(&newer).is_err());
    assert!(store.commit(&newer).is_err());
    fs::rename(&away, &seal).unwrap();
    assert_eq!(store.commit(&newer).unwrap(), [Outcome::Durable]);
    assert_eq!(store.commit(&newer).unwrap(), [Outcome::Durable]);
    drop(store);
    assert_eq!(open(&state).store.read_all().unwrap()[&site("a")], newer[0].1);
}
