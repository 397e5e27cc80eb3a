//! Files that are kept, and files that somebody has broken.

use super::*;
use crate::config::Real;
use crate::state::{Duty, Order};

/// A directory of this test's own, gone when it is dropped.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("xdirector-saved-{}-{name}", std::process::id()));
        fs::create_dir_all(&dir).expect("a temporary directory can be made");
        Self(dir)
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).expect("it is there");
        let mut names: Vec<String> =
            entries.map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn orders() -> Orders {
    let placed = |duty, weight| Placed { order: Order { duty, weight }, who: "root".into(), since: 1_790_000_000 };
    Orders::from([
        (("web".into(), [10, 0, 0, 1].into()), placed(Duty::Drain, None)),
        (("web".into(), [10, 0, 0, 2].into()), placed(Duty::Maintenance, Some(0))),
        (("a \"b\"".into(), "fd00::1".parse().expect("an address")), placed(Duty::Serve, Some(65_535))),
    ])
}

#[test]
fn orders_come_back_as_they_were() {
    assert_eq!(Orders::decode(&orders().encode()), Ok(orders()));
    assert_eq!(Orders::decode(&Orders::new().encode()), Ok(Orders::new()));
}

#[test]
fn answers_come_back_as_they_were() {
    let real = Real { tier: 3, zone: Some("hz1".into()), ..Real::new("db1", [10, 0, 0, 1].into(), 7) };
    let answer = Answer { source: "dns db.internal".into(), reals: vec![real] };
    let answers = Answers::from([("web".into(), answer)]);
    assert_eq!(Answers::decode(&answers.encode()), Ok(answers));
}

#[test]
fn what_makes_no_sense_is_refused() {
    let good = orders().encode();
    for (was, is, word) in [
        ("\"version\": 1", "\"version\": 2", "it is of version 2"),
        ("\"drain\"", "\"rest\"", "has the duty \"rest\""),
        ("65535", "65536", "has the weight 65536"),
        ("10.0.0.1", "10.0.0", "invalid IP address"),
        ("}", "", "at line"),
    ] {
        assert!(good.contains(was), "{was}");
        let error = Orders::decode(&good.replacen(was, is, 1)).expect_err(word);
        assert!(error.contains(word), "{error}");
    }
    for end in 0..good.trim_end().len() {
        assert!(Orders::decode(&good[..end]).is_err(), "cut at {end}");
    }
}

#[test]
fn a_file_is_replaced_whole_and_leaves_no_other() {
    let place = Place::new("replace");
    let dir = StateDir::new(&place.0.join("made/by/it"));
    assert_eq!(dir.load::<Orders>(ORDERS), Orders::new());
    for orders in [orders(), Orders::new(), orders()] {
        dir.write(ORDERS, &orders.encode()).expect("it can be written");
        assert_eq!(dir.load::<Orders>(ORDERS), orders);
    }
    assert_eq!(Place(place.0.join("made/by/it")).names(), [ORDERS]);
}

#[test]
fn a_broken_file_is_set_aside_and_nothing_is_lost_of_it() {
    let place = Place::new("broken");
    fs::write(place.0.join(ORDERS), "{ \"version\": 1, \"ord").expect("it can be written");
    let dir = StateDir::new(&place.0);
    assert_eq!(dir.load::<Orders>(ORDERS), Orders::new());
    assert_eq!(place.names(), ["orders.json.broken"]);
    let kept = fs::read_to_string(place.0.join("orders.json.broken")).expect("it is there");
    assert_eq!(kept, "{ \"version\": 1, \"ord");
}

#[tokio::test]
async fn a_directory_that_cannot_be_written_is_said_and_what_was_asked_last_is_written_last() {
    let place = Place::new("writer");
    fs::write(place.0.join("file"), "").expect("it can be written");
    let nowhere = Writer::start(StateDir::new(&place.0.join("file/below")));
    let error = nowhere.save(ORDERS, String::new()).await.expect_err("a file is no directory");
    assert!(error.starts_with("cannot make "), "{error}");
    let writer = Writer::start(StateDir::new(&place.0));
    let all: Vec<_> = (0..20).map(|number| writer.save("numbers", number.to_string())).collect();
    for outcome in all {
        assert_eq!(outcome.await, Ok(()));
    }
    assert_eq!(fs::read_to_string(place.0.join("numbers")).expect("it is there"), "19");
}
