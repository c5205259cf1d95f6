use proptest::prelude::*;

use super::*;
use crate::{drive::SignalFormat, shared_data::shared_data};

/// `body` with its `$` and checksum.
fn line(body: &str) -> String {
    format!("${body}*{:02X}\r\n", body.bytes().fold(0, |a, b| a ^ b))
}

fn fixes(bytes: &[u8]) -> Vec<ReceiverFix> {
    let (mut parser, mut out) = (NmeaParser::new(), VecDeque::new());
    bytes.iter().for_each(|b| parser.push(*b, &mut out));
    out.extend(parser.finish());
    out.into()
}

const RMC: &str = "GNRMC,223745.00,A,3806.62964,N,12237.61382,W,19.438,271.5,110720,,,D,V";
const GGA: &str = "GNGGA,223745.00,3806.62964,N,12237.61382,W,2,12,0.54,83.1,M,-29.5,M,,0000";

#[test]
fn rmc_with_the_hdop_of_its_moment() {
    for (order, text) in
        [("gga first", line(GGA) + &line(RMC)), ("rmc first", line(RMC) + &line(GGA))]
    {
        let got = fixes(text.as_bytes());
        assert_eq!(got.len(), 1, "{order}: {got:?}");
        let fix = got[0];
        assert!((fix.lat_deg - 38.110_494).abs() < 1e-6);
        assert!((fix.lon_deg + 122.626_897).abs() < 1e-6);
        assert!((fix.speed_mps.unwrap() - 10.0).abs() < 1e-3);
        assert_eq!(fix.course_deg, Some(271.5));
        assert_eq!(fix.utc_unix_ms, Some(1_594_507_065_000));
        let (hdop, alt_m) = (fix.hdop.unwrap_or(0.0), fix.alt_m.unwrap_or(0.0));
        let told = (hdop - 0.54).abs() < 1e-6 && (alt_m - 83.1).abs() < 1e-3;
        assert_eq!(told, order == "gga first", "{order}: {fix:?}");
    }
}

#[test]
fn the_receivers_own_error_goes_with_the_next_fix() {
    let gst = line("GNGST,223744.00,1.0,,,,3.0,4.0,9.0");
    let old = line("GNGST,223742.00,1.0,,,,3.0,4.0,9.0");
    let error = |text: String| fixes(text.as_bytes())[0].position_error_m;
    assert!((error(gst.clone() + &line(RMC)).unwrap() - 5.0).abs() < 1e-6);
    assert!((error(gst + &line(GGA)).unwrap() - 5.0).abs() < 1e-6);
    assert_eq!(error(old + &line(RMC)), None, "three seconds old");
    assert_eq!(error(line(RMC)), None);
}

#[test]
fn what_is_no_fix_gives_none() {
    let cases = [
        ("void", line(&RMC.replace(",A,", ",V,"))),
        ("mode not valid", line(&RMC.replace(",D,V", ",N,V"))),
        ("simulated", line(&RMC.replace(",D,V", ",S,V"))),
        ("typed in by hand", line(&GGA.replace("W,2,", "W,7,"))),
        ("no quality", line(&GGA.replace("W,2,", "W,0,"))),
        ("void RMC over a GGA", line(GGA) + &line(&RMC.replace(",A,", ",V,"))),
        ("empty", line("GPRMC,,V,,,,,,,,,,N")),
        ("checksum", line(RMC).replace("19.438", "99.438")),
        ("no checksum", format!("${RMC}\r\n")),
        ("latitude over 90", line(&RMC.replace("3806", "9106"))),
        ("minutes over 60", line(&RMC.replace("3806", "3866"))),
        ("hemisphere", line(&RMC.replace(",N,1", ",Q,1"))),
        ("infinite", line(&RMC.replace("3806.62964", "inf"))),
        ("maker's own", line("PGRME,15.0,M,22.5,M,15.0,M")),
    ];
    for (name, text) in cases {
        assert_eq!(fixes(text.as_bytes()), [], "{name}");
    }
}

#[test]
fn garbage_around_sentences_is_skipped() {
    let mut bytes = b"\xb5\x62\x01\x07$\x00\xff$GN".to_vec();
    bytes.extend(line(RMC).into_bytes());
    bytes.extend([0x24; 5000]);
    bytes.extend([b'A'; 5000]);
    bytes.extend(line(&RMC.replace("223745", "223746")).into_bytes());
    assert_eq!(fixes(&bytes).len(), 2);
    let (mut parser, mut out) = (NmeaParser::new(), VecDeque::new());
    let wrong = line(RMC).replace("19.438", "99.438");
    (wrong + &line(RMC)).bytes().for_each(|b| parser.push(b, &mut out));
    assert_eq!((out.len(), parser.dropped()), (1, 1));
}

#[test]
fn receivers_without_rmc() {
    let gga = |t: &str| line(&GGA.replace("223745.00", t));
    let vtg = line("GNVTG,90.0,T,,M,,N,36.0,K,A");
    let text = gga("235959.00") + &vtg + &gga("000000.00") + &vtg + &gga("000000.00");
    let got = fixes(text.as_bytes());
    assert_eq!(got.len(), 2, "{got:?}");
    assert!((got[0].speed_mps.unwrap() - 10.0).abs() < 1e-6, "{got:?}");
    assert_eq!(got[0].course_deg, Some(90.0));
    assert_eq!(got[0].utc_unix_ms, None, "no date was told");

    // An epoch that RMC leaves out is told before the next; one that it calls void is not.
    let text = gga("223744.00")
        + &line(RMC)
        + &gga("223746.00")
        + &line(&RMC.replace("223745.00,A", "223746.00,V"));
    let times: Vec<_> = fixes(text.as_bytes()).iter().map(|f| f.time_of_day_ms).collect();
    assert_eq!(times, [Some(81_464_000), Some(81_465_000)]);
    let gll = line("GPGLL,3806.62964,N,12237.61382,W,223744.00,A,A");
    assert_eq!(fixes((gga("223744.00") + &gll + &gll).as_bytes()).len(), 1);
    assert_eq!(fixes(gll.as_bytes()).len(), 1);
    assert_eq!(fixes(gll.replace("00,A,A*", "00,V,A*").as_bytes()), []);

    // A date told once is carried over midnight.
    let text = line(&RMC.replace("223745.00", "235958.00")) + &gga("235959.50") + &gga("000001.00");
    let utc: Vec<_> = fixes(text.as_bytes()).iter().map(|f| f.utc_unix_ms.unwrap()).collect();
    assert_eq!(utc, [1_594_511_998_000, 1_594_511_999_500, 1_594_512_001_000]);

    // Long after it the day is not known.
    let text = line(RMC) + &gga("100000.00");
    let utc: Vec<_> = fixes(text.as_bytes()).iter().map(|f| f.utc_unix_ms.is_some()).collect();
    assert_eq!(utc, [true, false]);

    let gns = line("GNGNS,191434.96,3806.62964,N,12237.61382,W,NNA,12,0.7,1,1,,");
    assert!((fixes(gns.as_bytes())[0].hdop.unwrap() - 0.7).abs() < 1e-6);
    assert_eq!(fixes(gns.replace("NNA", "NNN").as_bytes()), []);
}

fn replayed(text: &str) -> Vec<f64> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    let input = SignalInput::whole(file.path(), SignalFormat::Nmea);
    let mut log = NmeaFile::open(&input, MonoTime::ZERO).unwrap();
    let mut times = Vec::new();
    while let Some(s) = log.next_signal().unwrap() {
        times.push(s.at().as_secs_f64());
    }
    times
}

#[test]
fn a_log_is_replayed_on_the_receivers_time() {
    let rmc = |t: &str| line(&RMC.replace("223745.00", t));
    // Across midnight; a fix that goes back is left out; the last line lacks its end.
    let text =
        rmc("235959.00") + &rmc("235959.50") + &rmc("235958.00") + rmc("000001.00").trim_end();
    assert_eq!(replayed(&text), [0.0, 0.5, 2.0]);
    // Without a time of day: 1 s apart.
    assert_eq!(replayed(&(rmc("") + &rmc("") + &rmc(""))), [0.0, 1.0, 2.0]);
}

proptest! {
    #[test]
    fn any_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        fixes(&bytes);
    }

    #[test]
    fn any_fields_never_panic(
        body in "G[PN](RMC|GGA|GNS|GLL|VTG|GST)(,[-0-9.A-Z\u{e9}]{0,12}){0,16}"
    ) {
        for fix in fixes((line(&body) + &line(&body)).as_bytes()) {
            prop_assert!(fix.lat_deg.abs() <= 90.0 && fix.lon_deg.abs() <= 180.0);
            prop_assert!(fix.speed_mps.is_none_or(|v| v >= 0.0 && v.is_finite()));
        }
    }
}

#[test]
fn real_receivers() {
    let Some(dir) = shared_data("nmea") else { return };
    let (mut logs, mut with_fix, mut total) = (0, 0, 0);
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let input = SignalInput::whole(&path, SignalFormat::Nmea);
        let mut log = NmeaFile::open(&input, MonoTime::ZERO).unwrap();
        let mut n = 0;
        while let Some(s) = log.next_signal().unwrap() {
            let Signal::Gnss(fix) = s else { panic!("{s:?}") };
            assert!(fix.lat_deg.abs() <= 90.0 && fix.lon_deg.abs() <= 180.0, "{path:?}");
            assert!(fix.speed_mps.is_none_or(|v| v < 1000.0), "{path:?}: {fix:?}");
            n += 1;
        }
        logs += 1;
        with_fix += u32::from(n > 0);
        total += n;
    }
    println!("{logs} logs, {with_fix} with fixes, {total} fixes");
    assert!(logs > 90 && with_fix > 40, "{logs} logs, {with_fix} with fixes");
}
