use std::{
    net::TcpListener,
    process::{Command, Stdio},
    thread,
};

use proptest::prelude::*;

use super::*;
use crate::shared_data::shared_data;

const TPV: &str = r#"{"class":"TPV","device":"/dev/ttyS0","mode":3,"time":"2020-07-11T22:37:45.000Z","lat":38.1105,"lon":-122.6269,"altHAE":54.1,"altMSL":83.1,"speed":10.0,"track":271.5,"eph":3.0,"eps":0.5,"new":[{"class":"X"}]}"#;

#[test]
fn reports() {
    let fix = parse_report(TPV).unwrap();
    assert_eq!(fix.utc_unix_ms, Some(1_594_507_065_000));
    assert_eq!((fix.lat_deg, fix.lon_deg, fix.alt_m), (38.1105, -122.6269, Some(83.1)));
    assert_eq!((fix.speed_mps, fix.course_deg), (Some(10.0), Some(271.5)));
    assert_eq!((fix.position_error_m, fix.speed_error_mps), (Some(3.0), Some(0.5)));
    let with = |from: &str, to: &str| parse_report(&TPV.replace(from, to));
    assert_eq!(with("\"mode\":3", "\"mode\":2").unwrap().alt_m, None);
    assert_eq!(with("2020-07-11T", "2020-07-41T").unwrap().utc_unix_ms, None);
    assert_eq!(with("\"speed\":10.0", "\"speed\":-1").unwrap().speed_mps, None);
    for (name, from, to) in [
        ("no fix", "\"mode\":3", "\"mode\":1"),
        ("no mode", "\"mode\":3,", ""),
        ("simulated", "\"mode\":3", "\"mode\":3,\"status\":8"),
        ("another class", "TPV", "SKY"),
        ("latitude over 90", "38.1105", "98.1105"),
        ("no longitude", "\"lon\":-122.6269,", ""),
        ("cut short", "\"speed\"", "\""),
        ("not a number", "38.1105", "NaN"),
        ("beyond every number", "38.1105", "1e999"),
    ] {
        assert_eq!(with(from, to), None, "{name}");
    }
}

#[test]
fn lines_are_bounded() {
    let mut lines = Lines::default();
    let text = ["a\n", &"x".repeat(MAX_LINE + 9), "\nb\n\n"].concat();
    let got: Vec<_> = text.bytes().filter_map(|b| lines.push(b)).collect();
    assert_eq!(got, [b"a".to_vec(), b"b".to_vec(), Vec::new()]);
}

/// A server that hands each connection its text, after it was asked to watch.
fn server(texts: Vec<String>) -> (String, thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let serving = thread::spawn(move || {
        for text in texts {
            let (mut to, _) = listener.accept().unwrap();
            to.write_all(b"{\"class\":\"VERSION\",\"release\":\"3.22\"}\r\n").unwrap();
            let mut asked = vec![0; WATCH.len()];
            to.read_exact(&mut asked).unwrap();
            assert_eq!(asked, WATCH);
            // In two pieces: a line is not a packet.
            let (a, b) = text.split_at(text.len() / 2);
            to.write_all(a.as_bytes()).unwrap();
            to.flush().unwrap();
            to.write_all(b.as_bytes()).unwrap();
        }
    });
    (address, serving)
}

#[test]
fn a_connection_that_ends_is_opened_again() {
    let other = "{\"class\":\"SKY\",\"satellites\":[]}\r\nno json\r\n";
    let first = format!("{other}{TPV}\r\n{other}{TPV}\r\n{}", &TPV[..40]);
    let (address, serving) = server(vec![first, format!("{TPV}\n")]);
    let mut gpsd = Gpsd::new(&address, StopToken::new());
    let mut fixes = 0;
    let mut errors = Vec::new();
    while fixes < 3 {
        match gpsd.next_signal() {
            Ok(Some(Signal::Gnss(fix))) => {
                assert_eq!(fix.lat_deg, 38.1105);
                fixes += 1;
            }
            Ok(other) => panic!("{other:?}"),
            Err(e) => errors.push(e.to_string()),
        }
    }
    serving.join().unwrap();
    assert!(errors.len() == 1 && errors[0].contains(&address), "{errors:?}");
}

#[test]
fn nobody_there_and_stopping() {
    // A port that was free a moment ago.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let stop = StopToken::new();
    let mut gpsd = Gpsd::new(&address, stop.clone());
    let e = gpsd.next_signal().unwrap_err().to_string();
    assert!(e.contains("gpsd at") && e.contains(&address), "{e}");
    stop.stop();
    assert!(matches!(gpsd.next_signal(), Ok(None)));

    // A server that says nothing.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let stop = StopToken::new();
    let mut gpsd = Gpsd::new(&listener.local_addr().unwrap().to_string(), stop.clone());
    let waiting = thread::spawn(move || gpsd.next_signal());
    let (_held, _) = listener.accept().unwrap();
    stop.stop();
    assert!(matches!(waiting.join().unwrap(), Ok(None)));
}

/// The real gpsd, on a pipe that speaks as a receiver does.
#[test]
fn the_real_gpsd() {
    let Some(dir) = shared_data("nmea") else { return };
    let Ok(found) = Command::new("gpsd").arg("-V").output() else {
        println!("skipped: gpsd is not installed");
        return;
    };
    println!("{}", String::from_utf8_lossy(&found.stdout).trim());
    // gpsd takes a TCP stream of a receiver as a device.
    let receiver = TcpListener::bind("127.0.0.1:0").unwrap();
    let device = format!("tcp://{}", receiver.local_addr().unwrap());
    let log = std::fs::read(dir.join("ublox-neo-m9n-nmea.log")).unwrap();
    let stop = StopToken::new();
    let stopped = stop.clone();
    let feeding = thread::spawn(move || {
        let (mut to, _) = receiver.accept().unwrap();
        while !stopped.is_stopped() {
            // An epoch's sentences, then the pause by which gpsd knows its end.
            for epoch in log.split_inclusive(|b| *b == b'\n').collect::<Vec<_>>().chunks(12) {
                if to.write_all(&epoch.concat()).is_err() || stopped.wait(Duration::from_millis(20))
                {
                    return;
                }
            }
        }
    });
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut daemon = Command::new("gpsd")
        .args(["-N", "-n", "-S", &port.to_string(), &device])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut gpsd = Gpsd::new(&format!("127.0.0.1:{port}"), stop.clone());
    let began = Instant::now();
    let mut fixes = Vec::new();
    while fixes.len() < 5 && began.elapsed() < Duration::from_secs(30) {
        if let Ok(Some(Signal::Gnss(fix))) = gpsd.next_signal() {
            fixes.push(fix);
        }
    }
    stop.stop();
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    feeding.join().unwrap();
    assert_eq!(fixes.len(), 5, "no fixes by gpsd within 30 s");
    assert!(fixes.iter().all(|f| f.utc_unix_ms.is_some()), "{}", fixes.len());
}

proptest! {
    #[test]
    fn any_line_never_panics(line in "\\PC{0,80}", at in 0_usize..200, with in "[-0-9eE.\"{}\\[\\]:,a-z]{0,6}") {
        parse_report(&line);
        let mut text = TPV.to_owned();
        text.replace_range(at.min(TPV.len())..(at + 3).min(TPV.len()), &with);
        if let Some(fix) = parse_report(&text) {
            prop_assert!(fix.lat_deg.abs() <= 90.0 && fix.lon_deg.abs() <= 180.0);
        }
    }
}
