use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::time::Elapsed;

fn at(millis: i64) -> Elapsed {
    Elapsed::from_micros(millis * 1000)
}

fn read(text: &[u8]) -> (Vec<Event>, bool) {
    let mut reader = Reader::new(text).unwrap();
    let events = reader.by_ref().collect::<Result<Vec<_>, _>>().unwrap();
    let cut = reader.is_cut();
    (events, cut)
}

fn outputs(events: &[Event]) -> String {
    let mut text = String::new();
    for event in events {
        if let EventData::Output(output) = &event.data {
            text.push_str(output);
        }
    }
    text
}

#[test]
fn writes_what_the_format_says() {
    let mut writer = Writer::new();
    let mut out = Vec::new();
    let header = Header {
        cols: 100,
        rows: 30,
        timestamp: Some(1_795_292_613),
        title: Some("a \"b\"".to_owned()),
        env: BTreeMap::from([("TERM".to_owned(), "xterm-256color".to_owned())]),
    };
    writer.header(&header, &mut out);
    writer.output(at(1), b"\x1b[0m\"\\\t\x7f\r\n", &mut out);
    writer.input(at(2), "é".as_bytes(), &mut out);
    writer.resize(at(1_000_003), 80, 24, &mut out);
    writer.marker(at(1_000_004), "here", &mut out);
    let text = String::from_utf8(out).unwrap();
    assert_eq!(
        text,
        concat!(
            r#"{"version":2,"width":100,"height":30,"timestamp":1795292613,"title":"a \"b\"","env":{"TERM":"xterm-256color"}}"#,
            "\n",
            r#"[0.001000,"o","\u001b[0m\"\\\t\u007f\r\n"]"#,
            "\n",
            r#"[0.002000,"i","é"]"#,
            "\n",
            r#"[1000.003000,"r","80x24"]"#,
            "\n",
            r#"[1000.004000,"m","here"]"#,
            "\n",
        )
    );
    let reader = Reader::new(text.as_bytes()).unwrap();
    assert_eq!(reader.header(), &header);
    let events: Vec<_> = reader.map(Result::unwrap).collect();
    assert_eq!(events[2].data, EventData::Resize { cols: 80, rows: 24 });
    assert_eq!(events[3].elapsed, at(1_000_004));
}

#[test]
fn a_split_character_waits_for_its_rest_and_each_direction_has_its_own() {
    let mut writer = Writer::new();
    let mut out = Vec::new();
    writer.output(at(1), &[0xe6, 0x97], &mut out);
    assert!(out.is_empty(), "nothing to say yet");
    writer.input(at(2), b"x", &mut out);
    writer.output(at(3), &[0xa5], &mut out);
    writer.output(at(4), &[b'a', 0xff, b'b', 0xe6], &mut out);
    writer.finish(at(5), &mut out);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "[0.002000,\"i\",\"x\"]\n[0.003000,\"o\",\"日\"]\n[0.004000,\"o\",\"a\u{fffd}b\"]\n[0.005000,\"o\",\"\u{fffd}\"]\n"
    );
}

#[test]
fn a_cut_last_line_is_the_end_and_a_broken_one_in_the_middle_is_an_error() {
    let head = "{\"version\": 2, \"width\": 80, \"height\": 24}\n[0.1, \"o\", \"a\"]\n";
    let (events, cut) = read(format!("{head}[0.2, \"o\", \"b").as_bytes());
    assert_eq!((outputs(&events).as_str(), cut), ("a", true));
    let (events, cut) = read(head.as_bytes());
    assert_eq!((outputs(&events).as_str(), cut), ("a", false));
    let text = format!("{head}[0.2, \"o\", \"b\n[0.3, \"o\", \"c\"]\n");
    let mut reader = Reader::new(text.as_bytes()).unwrap();
    assert!(reader.next().unwrap().is_ok());
    let error = reader.next().unwrap().unwrap_err().to_string();
    assert!(error.starts_with("line 3 is not an event: "), "{error}");
    assert!(reader.next().is_none());
}

#[test]
fn says_what_is_wrong_with_a_header() {
    for (text, message) in [
        ("", "the file is empty"),
        ("hello\n", "line 1 is not the header of an asciicast: "),
        ("{\"version\": 1}\n", "asciicast version 1 is not supported, only 2 and 3 are"),
    ] {
        let error = Reader::new(text.as_bytes()).err().unwrap().to_string();
        assert!(error.starts_with(message), "{error}");
    }
}

#[test]
fn version_3_counts_from_the_event_before() {
    let text = "{\"version\":3,\"term\":{\"cols\":90,\"rows\":20}}\n# note\n[0.5,\"o\",\"a\"]\n\n[0.25,\"x\",\"0\"]\n";
    let reader = Reader::new(text.as_bytes()).unwrap();
    assert_eq!((reader.header().cols, reader.header().rows), (90, 20));
    let times: Vec<_> = reader.map(|event| event.unwrap().elapsed.as_micros()).collect();
    assert_eq!(times, [500_000, 750_000]);
}

#[test]
fn a_transcript_is_what_a_person_saw() {
    let mut transcript = Transcript::new(10, 3);
    let mut lines = Vec::new();
    for text in
        ["10%\r", "99%\r\n", "abcdefghijkl\r\n", "\u{1b}[?1049hvim\u{1b}[?1049l", "teh\x08\x08he\r\n", "z"]
    {
        lines.extend(transcript.event(&EventData::Output(text.to_owned())));
    }
    lines.extend(transcript.finish());
    assert_eq!(lines, ["99%", "abcdefghijkl", "the", "z"]);
}

proptest! {
    #[test]
    fn text_survives_any_splitting(text in "\\PC{0,40}[\u{0}-\u{7f}é日😀]{0,40}", splits in prop::collection::vec(0usize..400, 0..12)) {
        let bytes = text.as_bytes();
        let mut cuts: Vec<usize> = splits.into_iter().map(|cut| cut.min(bytes.len())).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let mut writer = Writer::new();
        let mut out = Vec::new();
        writer.header(&Header { cols: 80, rows: 24, ..Header::default() }, &mut out);
        for pair in cuts.windows(2) {
            writer.output(at(0), &bytes[pair[0]..pair[1]], &mut out);
        }
        writer.finish(at(0), &mut out);
        prop_assert_eq!(outputs(&read(&out).0), text);
    }

    #[test]
    fn any_bytes_in_any_pieces_read_as_one_lossy_string(bytes in prop::collection::vec(any::<u8>(), 0..200), splits in prop::collection::vec(0usize..200, 0..12)) {
        let mut cuts: Vec<usize> = splits.into_iter().map(|cut| cut.min(bytes.len())).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let mut decoder = Utf8Stream::new();
        let mut text = String::new();
        for pair in cuts.windows(2) {
            decoder.decode(&bytes[pair[0]..pair[1]], |piece| text.push_str(piece));
        }
        text.push_str(decoder.finish().unwrap_or_default());
        prop_assert_eq!(text, String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn the_reader_survives_anything(text in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut whole = b"{\"version\":2,\"width\":0,\"height\":99999999}\n[1e300,\"o\",\"\"]\n".to_vec();
        whole.extend(text);
        for event in Reader::new(whole.as_slice()).unwrap() {
            drop(event);
        }
    }
}
