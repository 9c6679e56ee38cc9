//! The safety net: backups that are made while everything goes on, and what is restored of them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tempfile::TempDir;

use super::streams::{connect, event, free_port, send, serve, tcp};
use super::{
    FEEDS, Handed, Killer, contents, days, files_below, ingest, ingest_all, query, run, succeed, time_of, told, value, waglan, written,
};

fn backup(data: &Path, into: &Path) -> std::process::Command {
    let mut command = waglan(data);
    command.arg("backup").arg(into);
    command
}

fn restore(data: &Path, from: &Path) -> std::process::Command {
    let mut command = waglan(data);
    command.arg("restore").arg(from);
    command
}

/// All addresses that were sent as messages and are events.
fn stored(data: &Path) -> BTreeSet<String> {
    query(data, "SELECT source_ip FROM events WHERE feed = 'intelmq/events'").lines().skip(1).map(str::to_owned).collect()
}

/// What must be the same however messages were put together.
fn of_files(data: &Path) -> Vec<String> {
    contents(data).into_iter().filter(|line| !line.contains("intelmq/events")).collect()
}

/// While a service takes messages, others take reports in, one merges and one deletes files, backups are made, and one is killed.
/// Each, restored, is how it was at one moment: what was acknowledged before is there, and nothing counts twice.
#[test]
fn a_backup_made_while_all_is_at_work_shows_one_moment() {
    let folder = TempDir::new().expect("a folder");
    let (data, kept) = (folder.path().join("data"), folder.path().join("kept"));
    let handed = days(folder.path(), "2024-02-14", "2024-02-15", &FEEDS);
    let port = free_port();
    let batch = "framing = \"intelmq\"\nbatch = { messages = 20, seconds = 1 }";
    let service = serve(&data, &tcp(port, batch));
    let over = AtomicBool::new(false);
    let (answered, taken) = (Mutex::new(BTreeSet::new()), Mutex::new(0));
    let restored: Vec<PathBuf> = (0..4).map(|number| folder.path().join(format!("restored-{number}"))).collect();
    let before: Vec<(BTreeSet<String>, usize)> = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut stream = connect(port);
            for number in 0.. {
                if over.load(Ordering::Relaxed) {
                    break;
                }
                assert_eq!(send(&mut stream, event(number).as_bytes()), b"Ok");
                let ip = format!("198.{}.{}.{}", 18 + number / 65536, number / 256 % 256, number % 256);
                answered.lock().expect("nobody panicked").insert(ip);
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        scope.spawn(|| {
            for one in &handed {
                succeed(&mut ingest(&data, one));
                *taken.lock().expect("nobody panicked") += 1;
            }
        });
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                succeed(waglan(&data).args(["store", "compact"]));
                succeed(waglan(&data).args(["store", "vacuum", "--keep-days", "0"]));
                std::thread::sleep(Duration::from_millis(200));
            }
        });
        let mut killer = Killer::new();
        killer.kill(&mut backup(&data, &kept), Duration::from_millis(300));
        let backups = restored.iter().map(|restored| {
            let before = (answered.lock().expect("nobody panicked").clone(), *taken.lock().expect("nobody panicked"));
            let made = run(&mut backup(&data, &kept));
            assert_eq!(made.status.code(), Some(0), "{}", told(&made));
            let back = run(&mut restore(restored, &kept));
            assert_eq!(back.status.code(), Some(0), "{}", told(&back));
            before
        });
        let before = backups.collect();
        over.store(true, Ordering::Relaxed);
        before
    });
    drop(service);
    // What the service was killed over, it takes up.
    succeed(waglan(&data).args(["run", "--once"]));
    let all = answered.into_inner().expect("nobody panicked");
    assert_eq!(stored(&data), all);
    let expected = of_files(&data);
    for (restored, (answered, taken)) in restored.iter().zip(before) {
        assert_eq!(told(&run(backup(restored, &kept).arg("--verify"))).lines().count(), 1);
        // Another may listen there.
        written(restored, "waglan.toml", tcp(free_port(), batch));
        let finished = run(waglan(restored).args(["run", "--once"]));
        assert_eq!(finished.status.code(), Some(0), "{}", told(&finished));
        let there = stored(restored);
        assert!(answered.is_subset(&there), "what was answered before is there");
        assert!(there.is_subset(&all), "and nothing that was never sent");
        assert_eq!(value(restored, "SELECT count(*) FROM events WHERE feed = 'intelmq/events'"), there.len().to_string());
        for (number, one) in handed.iter().enumerate() {
            let said = told(&run(&mut ingest(restored, one)));
            assert!(number >= taken || said.contains("is in the store already"), "it was taken in before: {said}");
        }
        assert_eq!(of_files(restored), expected, "{}", restored.display());
    }
}

/// A store with something of everything beside it.
fn furnished(folder: &Path) -> (PathBuf, Vec<Handed>) {
    let data = folder.join("data");
    let handed = days(folder, "2024-02-14", "2024-02-14", &FEEDS[1..3]);
    let network = "[[network]]\nprefix = \"192.0.2.0/24\"\ncountry = \"XA\"\n";
    written(&data, "networks/ours/2024-01-01.toml", network);
    written(&data, "conf.d/scope.toml", "[scope]\ncountries = [\"XA\"]\n");
    ingest_all(&data, &handed);
    written(&data, "sources/cins~army.json", "{\"version\": 1, \"failures\": 0, \"seen\": {\"etag\": \"x\"}}");
    written(&data, "sources/in.d/000000000001.refused", "\0\0\0\x01x");
    (data, handed)
}

#[test]
fn a_backup_holds_everything_and_only_what_is_new_is_copied_again() {
    let folder = TempDir::new().expect("a folder");
    let (data, handed) = furnished(folder.path());
    // A configuration that lies elsewhere is part of it.
    let outside = folder.path().join("etc");
    written(&outside, "feeds/example/own.toml", "format = \"lines\"\n");
    let config = written(&outside, "waglan.toml", "feeds = \"FOLDER/feeds\"\n".replace("FOLDER", &outside.display().to_string()));
    let kept = folder.path().join("deep/kept");
    let make = || told(&run(backup(&data, &kept).arg("--config").arg(&config)));
    let first = make();
    assert!(first.contains(" files, ") && !first.contains(" 0 of them new"), "{first}");
    let mode = |path: &Path| std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(path).expect("it is there").permissions()) & 0o777;
    assert_eq!(mode(&kept), 0o700);
    assert!(files_below(&kept).iter().all(|file| mode(file) & 0o077 == 0 || file.ends_with("lock")), "others see nothing");
    // The audit trail alone has grown.
    let second = make();
    assert!(second.contains("; 1 of them new, "), "{second}");

    let restored = folder.path().join("restored");
    let said = told(&run(&mut restore(&restored, &kept)));
    let moved = format!("{} lay outside of the data, and is in {}", config.display(), restored.join("elsewhere").display());
    assert!(said.contains(&moved), "{said}");
    assert_eq!(contents(&restored), contents(&data));
    let relative = |data: &Path| -> BTreeSet<PathBuf> {
        let of_data = |path: PathBuf| path.strip_prefix(data).expect("below").to_path_buf();
        files_below(data).into_iter().map(of_data).filter(|path| !path.starts_with("locks") && !path.starts_with("elsewhere")).collect()
    };
    let (was, is) = (relative(&data), relative(&restored));
    assert!(is.is_subset(&was), "{:?}", is.difference(&was));
    // Files that were replaced are no part of it.
    let lacking: Vec<_> = was.difference(&is).filter(|path| path.extension().is_none_or(|end| end != "parquet")).collect();
    assert!(lacking.is_empty(), "{lacking:?}");
    for file in is.iter().filter(|file| !file.ends_with("audit.jsonl")) {
        assert_eq!(
            std::fs::read(data.join(file)).expect("there"),
            std::fs::read(restored.join(file)).expect("there"),
            "{}",
            file.display()
        );
    }
    let audit = std::fs::read_to_string(restored.join("audit.jsonl")).expect("there");
    assert!(audit.contains("backup into") && audit.lines().last().is_some_and(|line| line.contains("restored from")), "{audit}");

    // What is restored goes on, and its backup too: nothing of it is copied again but what is new.
    let again = told(&run(&mut ingest(&restored, &handed[0])));
    assert!(again.contains("is in the store already"), "{again}");
    let third = told(&run(&mut backup(&restored, &kept)));
    let new: u32 = third.split("; ").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok()).expect("a number");
    assert!(new < 10, "{third}");

    // What was erased is in no backup after the next.
    let report = value(&restored, "SELECT min(report_id) FROM deliveries");
    let bytes = std::fs::read(restored.join("reports").join(report.split_at(2).0).join(&report)).expect("it is kept");
    let is_held = || files_below(&kept.join("objects")).iter().any(|object| std::fs::read(object).expect("there") == bytes);
    assert!(is_held());
    succeed(waglan(&restored).args(["store", "erase", "--report", &report, "--reason", "by order"]));
    succeed(&mut backup(&restored, &kept));
    assert!(!is_held(), "what nobody has a use for is deleted");
    let second = folder.path().join("second");
    succeed(&mut restore(&second, &kept));
    assert_eq!(contents(&second), contents(&restored));
}

#[test]
fn a_damaged_backup_is_told_and_half_of_one_is_no_store() {
    let folder = TempDir::new().expect("a folder");
    let (data, _) = furnished(folder.path());
    let (kept, restored) = (folder.path().join("kept"), folder.path().join("restored"));
    succeed(&mut backup(&data, &kept));
    let list = std::fs::read_to_string(kept.join("backup.jsonl")).expect("there");
    let entry = list.lines().rfind(|line| line.contains("store/reports/")).expect("there is a report");
    let part = |name: &str| entry.split(&format!("\"{name}\":\"")).nth(1).and_then(|rest| rest.split('"').next()).expect("it has it");
    let (name, hash) = (part("name"), part("hash"));
    let object = kept.join("objects").join(hash.split_at(2).0).join(hash);
    let sound = std::fs::read(&object).expect("there");
    let mut bytes = sound.clone();
    bytes[sound.len() / 2] ^= 1;
    std::fs::write(&object, &bytes).expect("writable");

    let verified = run(backup(&data, &kept).arg("--verify"));
    assert_eq!(verified.status.code(), Some(1));
    assert!(told(&verified).starts_with(&format!("{name} is damaged: its bytes are in {}", object.display())), "{}", told(&verified));
    let refused = run(&mut restore(&restored, &kept));
    assert_eq!(refused.status.code(), Some(2));
    assert!(told(&refused).contains(&format!("{name} is damaged")), "{}", told(&refused));
    let used = run(waglan(&restored).args(["query", "SELECT count(*) FROM events"]));
    assert!(told(&used).contains("it is half of a backup: `waglan restore` was cut short"), "{}", told(&used));
    let other = folder.path().join("other");
    succeed(&mut backup(&data, &other));
    let mixed = run(&mut restore(&restored, &other));
    assert!(told(&mixed).contains("a part of another backup"), "{}", told(&mixed));

    // Mended, it goes on; killed at any moment too.
    std::fs::write(&object, &sound).expect("writable");
    let whole = time_of(&mut restore(&folder.path().join("timed"), &kept));
    let mut killer = Killer::new();
    for _ in 0..5 {
        if killer.kill(&mut restore(&restored, &kept), whole) {
            break;
        }
    }
    let ended = run(&mut restore(&restored, &kept));
    let code = ended.status.code();
    assert!(code == Some(0) || told(&ended).contains("there is a store at"), "{killer}: {}", told(&ended));
    assert_eq!(contents(&restored), contents(&data));

    // A list that is not as it was written, or of a later program.
    for (was, is, expected) in [
        ("\"size\":", "\"size\":1", "the backup is damaged"),
        ("\"format\":1", "\"format\":2", "its format is 2, and this program knows formats up to 1"),
        ("store/reports/", "store/../../x/", "is no name in a backup"),
    ] {
        std::fs::write(kept.join("backup.jsonl"), list.replacen(was, is, 1)).expect("writable");
        let refused = run(&mut restore(&folder.path().join("none"), &kept));
        assert_eq!(refused.status.code(), Some(2));
        assert!(told(&refused).contains(expected), "{}", told(&refused));
    }
}

#[test]
fn a_backup_is_made_and_restored_where_nothing_else_lies() {
    let folder = TempDir::new().expect("a folder");
    let (data, _) = furnished(folder.path());
    let place = |name: &str| folder.path().join(name);
    written(place("full"), "notes.txt", "mine");
    succeed(&mut backup(&data, &place("kept")));
    let other = place("another");
    succeed(waglan(&other).args(["ingest", "--feed", "cins/army"]).arg(written(&folder, "ci.txt", "192.0.2.1\n")));
    let cases = [
        (backup(&data, &place("full")), "holds other things, such as notes.txt"),
        (backup(&data, &data.join("kept")), "lie in each other"),
        (backup(&other, &place("kept")), "holds a backup of another store"),
        (backup(&place("none"), &place("kept")), "there is no data in"),
        (backup(&place("full"), &place("photos")), "there is no store"),
        (restore(&data, &place("kept")), "there is a store at"),
        (restore(&place("full"), &place("kept")), "is not empty, there is notes.txt in it"),
        (restore(&place("none"), &place("full")), "there is no backup in"),
    ];
    for (mut command, expected) in cases {
        let output = run(&mut command);
        assert_eq!(output.status.code(), Some(2), "{expected}");
        assert!(told(&output).contains(expected), "{}", told(&output));
    }
    assert!(!place("none").join("format").exists());
    assert_eq!(files_below(&place("full")), [place("full").join("notes.txt")], "no store is made by a slip of the pen");
}

/// What is in it by a way that goes up on its way.
#[test]
fn a_configuration_given_by_a_way_around_is_in_the_backup_by_its_own() {
    let folder = TempDir::new().expect("a folder");
    let (data, _) = furnished(folder.path());
    let table = written(&folder, "feeds/example/own.toml", "format = \"lines\"\n");
    let config = written(&folder, "etc/waglan.toml", "feeds = \"../feeds\"\n");
    let kept = folder.path().join("kept");
    let by_a_way_around = |command: &mut std::process::Command| {
        told(&run(command.args(["--config", "../etc/waglan.toml"]).current_dir(folder.path().join("etc"))))
    };
    let inside = by_a_way_around(&mut backup(&data, &folder.path().join("feeds/kept")));
    assert!(inside.contains("lie in each other"), "{inside}");
    for _ in 0..2 {
        let said = by_a_way_around(&mut backup(&data, &kept));
        assert!(said.contains(" of them new"), "{said}");
        succeed(backup(&data, &kept).arg("--verify"));
    }
    let restored = folder.path().join("restored");
    succeed(&mut restore(&restored, &kept));
    for file in [table, config] {
        let real = file.canonicalize().expect("there");
        let now = restored.join("elsewhere").join(real.strip_prefix("/").expect("it is absolute"));
        assert_eq!(std::fs::read(now).expect("restored"), std::fs::read(file).expect("there"));
    }
}

/// In a file system's `lost+found`, and in folders that others have put beside the store, nothing is looked for.
#[test]
fn what_is_not_the_stores_is_let_be() {
    let folder = TempDir::new().expect("a folder");
    let (data, _) = furnished(folder.path());
    let old = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    let unfinished = |name: &str| {
        let path = written(&data, name, "half");
        std::fs::File::options().write(true).open(&path).and_then(|file| file.set_modified(old)).expect("writable");
        path
    };
    let own = [unfinished(".unfinished-a"), unfinished("reports/ab/.unfinished-b"), unfinished("events/.unfinished-c")];
    let others = [unfinished("lost+found/.unfinished-d"), unfinished("notes/.unfinished-e"), written(&data, "lost+found/#12", "a part")];
    succeed(waglan(&data).args(["store", "vacuum"]));
    assert_eq!(own.map(|file| file.exists()), [false; 3]);
    assert_eq!(others.map(|file| file.exists()), [true; 3]);
    let kept = folder.path().join("kept");
    succeed(&mut backup(&data, &kept));
    let list = std::fs::read_to_string(kept.join("backup.jsonl")).expect("there");
    assert!(!list.contains("lost+found"), "{list}");
}

/// The next backup would delete what is being read.
#[test]
fn a_backup_is_not_made_while_it_is_read() {
    let folder = TempDir::new().expect("a folder");
    let (data, _) = furnished(folder.path());
    let (kept, restored) = (folder.path().join("kept"), folder.path().join("restored"));
    succeed(&mut backup(&data, &kept));
    let lock = std::fs::File::options().append(true).open(kept.join("lock")).expect("there");
    lock.try_lock().expect("nobody has it");
    for command in [&mut restore(&restored, &kept), backup(&data, &kept).arg("--verify")] {
        let said = told(&run(command));
        assert!(said.contains("a backup is being made in"), "{said}");
    }
    assert!(!restored.exists(), "nothing was begun");
    lock.unlock().and_then(|()| Ok(lock.try_lock_shared()?)).expect("nobody has it");
    succeed(backup(&data, &kept).arg("--verify"));
    let said = told(&run(&mut backup(&data, &kept)));
    assert!(said.contains("somebody reads it"), "{said}");
    // A copy of it may lack the lock.
    std::fs::remove_file(kept.join("lock")).expect("there");
    succeed(&mut restore(&restored, &kept));
    assert_eq!(contents(&restored), contents(&data));
}

#[test]
fn what_sources_have_put_aside_needs_no_open_file_each() {
    let folder = TempDir::new().expect("a folder");
    let (data, _) = furnished(folder.path());
    let batch = vec![b'x'; 70 << 10];
    for number in 100..500 {
        written(&data, &format!("sources/in.d/{number:012}.refused"), &batch);
    }
    let kept = folder.path().join("kept");
    let mut few = std::process::Command::new("bash");
    few.args(["-c", "ulimit -n 200; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_waglan"), "backup"]).arg(&kept);
    succeed(few.env("WAGLAN_DATA", &data));
    let restored = folder.path().join("restored");
    succeed(&mut restore(&restored, &kept));
    assert_eq!(std::fs::read(restored.join("sources/in.d/000000000499.refused")).expect("restored"), batch);
}

/// What the clock of a rehearsal says it is now, and how many hours pass in a second.
#[expect(clippy::disallowed_methods, reason = "from the real time on the program's own runs faster")]
fn rehearsal(now: &str, hours_a_second: u32) -> String {
    let real = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock").as_micros();
    format!("{real}/{}/{}", event::time::parse(now).expect("a time"), hours_a_second * 3600)
}

#[test]
fn the_store_is_looked_after_each_night_and_a_missed_night_is_made_up() {
    let folder = TempDir::new().expect("a folder");
    let (data, drop) = (folder.path().join("data"), folder.path().join("drop"));
    std::fs::create_dir_all(&drop).expect("writable");
    let take = |day: u32| {
        let list = written(&folder, &format!("{day}.txt"), format!("192.0.2.{day}\nno address {day}\n"));
        run(waglan(&data).args(["ingest", "--feed", "cins/army", "--at", &format!("2030-03-{day:02}T06:00:00Z")]).arg(list));
    };
    (1..5).for_each(take);
    let configuration = format!(
        "[source.drop]\nfeed = \"cins/army\"\nevery = \"30m\"\n[source.drop.folder]\npath = \"{}\"\n[run]\nupkeep = \"03:00+08:00\"\n\
         [retention.events]\n\"cins/army\" = 30\n",
        drop.display()
    );
    written(&data, "waglan.toml", configuration);
    let service = |now: &str, hours: u32| {
        let mut command = waglan(&data);
        command.env("WAGLAN_CLOCK", rehearsal(now, hours)).args(["-v", "run"]).stderr(std::process::Stdio::piped());
        super::streams::Running(command.spawn().expect("it starts"))
    };
    let memory = || -> String { std::fs::read_to_string(data.join("upkeep.json")).unwrap_or_default() };
    let done_on = |day: &str| {
        let text = memory();
        let done = text.split("\"done\": ").nth(1).and_then(|rest| rest.split([',', '\n']).next()?.parse::<i64>().ok());
        done.is_some_and(|done| event::time::iso(done).starts_with(day)).then_some(())
    };
    let merged = || {
        files_below(&data.join("events/_delta_log"))
            .iter()
            .filter(|file| file.extension().is_some_and(|end| end == "json"))
            .fold(0, |merged, entry| merged + usize::from(std::fs::read_to_string(entry).expect("there").contains("OPTIMIZE")))
    };

    // Three at night is seven in the evening in UTC.
    let running = service("2030-03-05T17:00:00Z", 2);
    super::streams::wait_for("the first night", || done_on("2030-03-05T19:"));
    super::streams::wait_for("the second night", || done_on("2030-03-06T19:"));
    assert_eq!(merged(), 1, "in the second night there was nothing to do");
    std::mem::drop(running);
    assert!(files_below(&data.join("reports")).iter().all(|report| report.extension().is_some_and(|end| end == "zst")), "they are packed");
    assert_eq!(value(&data, "SELECT count(*) FROM events"), "4");

    // Nothing ran for a month: it is done at once. Something cannot be done, and all else is.
    (5..7).for_each(take);
    let rejects = files_below(&data.join("rejects"));
    let newest = rejects.iter().filter(|file| file.extension().is_some_and(|end| end == "parquet"));
    let newest = newest.max_by_key(|file| std::fs::metadata(file).and_then(|file| file.modified()).expect("there")).expect("there is one");
    let sound = std::fs::read(newest).expect("there");
    std::fs::write(newest, b"no file of a table").expect("writable");
    let mut running = service("2030-04-04T12:00:00Z", 1);
    super::streams::wait_for("a failure", || memory().contains("compact: merging files of rejects").then_some(()));
    let settled = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_772_500_000);
    let list = written(&drop, "list.txt", "192.0.2.99\n");
    std::fs::File::options().write(true).open(list).and_then(|file| file.set_modified(settled)).expect("writable");
    super::streams::wait_for("what is taken in beside", || drop.join("taken/list.txt").exists().then_some(()));
    let doctor = String::from_utf8(run(waglan(&data).arg("doctor")).stdout).expect("text");
    assert!(doctor.contains("BAD  the upkeep of 2030-04-"), "{doctor}");
    std::fs::write(newest, sound).expect("writable");
    super::streams::wait_for("another try", || done_on("2030-04-0"));
    running.0.kill().and_then(|()| running.0.wait()).expect("a child can be killed");
    let mut said = String::new();
    std::io::Read::read_to_string(&mut running.0.stderr.take().expect("it is piped"), &mut said).expect("text");
    assert!(said.contains("upkeep failed: it is tried again in an hour") && said.contains("what=\"compact\""), "{said}");
    // Those of the first days have expired, and what came beside, which is older still.
    assert_eq!(query(&data, "SELECT source_ip FROM events ORDER BY 1"), "source_ip\n192.0.2.5\n192.0.2.6\n");
    assert_eq!(value(&data, "SELECT events FROM deliveries WHERE origin LIKE '%/list.txt'"), "1");
}

/// A message that names somebody.
fn naming(number: usize, account: &str) -> String {
    event(number).replace("\"malware.name\"", &format!("\"source.account\": \"{account}\", \"malware.name\""))
}

/// What was answered and not stored yet, and what was put aside, hold what is erased no more than the store does.
#[test]
fn a_person_is_erased_from_what_was_sent_and_is_not_stored() {
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    let port = free_port();
    let (slow, quick) = ("framing = \"intelmq\"\nbatch = { seconds = 3600 }", "framing = \"intelmq\"\nbatch = { seconds = 1 }");
    let service = serve(&data, &tcp(port, slow));
    let mut stream = connect(port);
    for (number, account) in [(0, "jane@example.org"), (1, "joe@example.org")] {
        assert_eq!(send(&mut stream, naming(number, account).as_bytes()), b"Ok");
    }
    drop(service);
    let framed = |message: &str| [&u32::try_from(message.len()).expect("short").to_be_bytes(), message.as_bytes()].concat();
    let aside = [framed("{\"at\": \"/?u=jane%40example.org\"}"), framed("{\"to\": \"JANE@example.org\"}"), framed("{}")].concat();
    let aside = written(&data, "sources/in.d/000000000009.refused", aside);
    let beside = "[source.bots]\nfeed = \"intelmq/events\"\n[source.bots.redis]\nurl = \"redis://127.0.0.1/2/bots\"\n[source.drop]\nprovider = \
                  \"cins\"\n[source.drop.folder]\npath = \"/srv/drop\"\n";
    written(&data, "waglan.toml", tcp(port, quick) + beside);
    let erase = || run(waglan(&data).args(["store", "erase", "--person", "jane@example.org", "--reason", "on request"]));
    let erased = erase();
    let said = told(&erased);
    assert_eq!(erased.status.code(), Some(0), "{said}");
    for expected in [
        "3 messages that were not stored",
        "out of reach: the queue bots-refused in Redis (source bots)\n",
        "out of reach: the folder /srv/drop and what was put aside in it (source drop)\n",
        "backups that were made before still hold it",
    ] {
        assert!(said.contains(expected), "{said}");
    }
    assert_eq!(std::fs::read(aside).expect("there"), framed("{}"), "what others said stays");
    let says = |file: &PathBuf| String::from_utf8_lossy(&std::fs::read(file).expect("there")).to_lowercase().contains("jane");
    assert!(!files_below(&data).iter().any(says));

    // While a service is at work, what it was sent is stored first, and then erased.
    let _service = serve(&data, &tcp(port, quick));
    let mut stream = connect(port);
    assert_eq!(send(&mut stream, naming(2, "jane@example.org").as_bytes()), b"Ok");
    let erased = erase();
    assert_eq!(erased.status.code(), Some(0), "{}", told(&erased));
    assert!(told(&erased).contains("erased: 1 events"), "{}", told(&erased));
    assert_eq!(query(&data, "SELECT source_account FROM events"), "source_account\njoe@example.org\n");
    assert!(!files_below(&data).iter().any(says));
}
