use super::*;
use proptest::prelude::*;

fn parse(text: &str) -> ChannelUri {
    ChannelUri::parse(text).unwrap()
}

#[test]
fn a_channel_is_written_as_it_was_read() {
    for text in [
        "aeron:udp",
        "aeron:ipc?term-length=128k",
        "aeron-spy:aeron:udp?tags=1,2|session-id=-7|alias=log",
        "aeron:udp?fc=tagged,g:3/2,t:5s|endpoint=[::1]:9|x-unknown=a=b?c",
        "aeron:udp?alias=",
    ] {
        assert_eq!(parse(text).to_string(), text);
    }
}

#[test]
fn parameters_keep_their_order_when_changed() {
    let mut uri = parse("aeron:udp?b=1|a=2|c=3");
    uri.put("a", 9).unwrap().put("d", "x").unwrap();
    assert_eq!(uri.remove("b").as_deref(), Some("1"));
    assert_eq!(uri.remove("b"), None);
    assert_eq!(uri.to_string(), "aeron:udp?a=9|c=3|d=x");
    assert_eq!(uri.params().collect::<Vec<_>>(), [("a", "9"), ("c", "3"), ("d", "x")]);
}

#[test]
fn the_last_of_two_equal_keys_counts() {
    assert_eq!(parse("aeron:udp?a=1|b=2|a=3").to_string(), "aeron:udp?a=3|b=2");
}

#[test]
fn a_value_that_would_break_the_uri_is_not_put() {
    let mut uri = ChannelUri::udp();
    assert!(matches!(uri.put("alias", "a|endpoint=evil:1"), Err(ChannelError::Unspeakable { .. })));
    assert!(matches!(uri.put("a=b", 1), Err(ChannelError::Unspeakable { .. })));
    assert!(matches!(uri.put("alias", "x".repeat(4095)), Err(ChannelError::TooLong { .. })));
    assert_eq!(uri, ChannelUri::udp());
}

#[test]
fn a_bad_uri_is_told_what_would_be_right() {
    for (text, words) in [
        ("udp?endpoint=h:1", "does not start with `aeron:`"),
        ("aeron:tcp", "expected `udp` or `ipc`"),
        ("aeron:", "expected `udp` or `ipc`"),
        ("aeron:udp?", "is not `key=value`"),
        ("aeron:udp?a=1|", "is not `key=value`"),
        ("aeron:udp?a|b=1", "parameter `a` is not `key=value`"),
        ("aeron:udp?=1", "is not `key=value`"),
    ] {
        let error = ChannelUri::parse(text).unwrap_err().to_string();
        assert!(error.contains(words), "{text}: {error}");
    }
    let longest = format!("aeron:udp?alias={}", "x".repeat(URI_LENGTH_MAX - 16));
    assert!(ChannelUri::parse(&longest).is_ok());
    assert_eq!(ChannelUri::parse(&(longest + "x")).unwrap_err(), ChannelError::TooLong { length: 4096 });
}

#[test]
fn absent_parameters_read_as_the_drivers_defaults() {
    let uri = parse("aeron:udp");
    assert_eq!(uri.endpoint(), Ok(None));
    assert_eq!(uri.session_id(), Ok(None));
    assert_eq!(uri.term_length(), Ok(16 << 20));
    assert_eq!(parse("aeron:ipc").term_length(), Ok(64 << 20));
    assert_eq!(uri.mtu(), Ok(1408));
    assert_eq!(uri.linger_ns(), Ok(5_000_000_000));
    assert_eq!(uri.receiver_window(), Ok(131_072));
    assert_eq!(uri.so_rcvbuf(), Ok(131_072));
    assert_eq!(uri.so_sndbuf(), Ok(None));
    assert_eq!(uri.starting_position(), Ok(None));
    assert_eq!(uri.group(), Group::Infer);
    assert!(uri.eos() && uri.reliable() && uri.rejoin() && uri.tether() && uri.sparse());
    assert!(!uri.spies_simulate_connection());
}

#[test]
fn parameters_read_as_they_are_written() {
    let uri = parse(
        "aeron:udp?endpoint=h:1|control=[::1]:2|control-mode=response|session-id=-5|stream-id=100|\
         term-length=64k|mtu=8k|linger=0|rcv-wnd=512k|so-rcvbuf=2m|so-sndbuf=1g|eos=false|rejoin=TRUE|\
         nak-delay=100us|gtag=-3|group=true|ttl=4|init-term-id=-5|term-id=3|term-offset=96|pub-wnd=1m",
    );
    assert_eq!(uri.required_endpoint(), Ok(HostPort { host: "h".into(), port: 1 }));
    assert_eq!(uri.control(), Ok(Some(HostPort { host: "::1".into(), port: 2 })));
    assert_eq!(uri.control_mode(), Ok(Some(ControlMode::Response)));
    assert_eq!(uri.session_id(), Ok(Some(SessionIdParam::Id(-5))));
    assert_eq!(parse("aeron:udp?session-id=tag:9").session_id(), Ok(Some(SessionIdParam::Tag(9))));
    assert_eq!(uri.stream_id(), Ok(Some(100)));
    assert_eq!(uri.term_length(), Ok(65_536));
    assert_eq!(uri.mtu(), Ok(8192));
    assert_eq!(uri.linger_ns(), Ok(0));
    assert_eq!(uri.receiver_window(), Ok(524_288));
    assert_eq!(uri.so_rcvbuf(), Ok(2 << 20));
    assert_eq!(uri.so_sndbuf(), Ok(Some(1 << 30)));
    assert_eq!(uri.publication_window(), Ok(Some(1 << 20)));
    assert!(!uri.eos());
    assert!(!uri.rejoin(), "only `true` is true");
    assert_eq!(uri.nak_delay_ns(), Ok(Some(100_000)));
    assert_eq!(uri.group_tag(), Ok(Some(-3)));
    assert_eq!(uri.group(), Group::ForceTrue);
    assert_eq!(uri.ttl(), Ok(Some(4)));
    let start = StartingPosition { initial_term_id: -5, term_id: 3, term_offset: 96 };
    assert_eq!(uri.starting_position(), Ok(Some(start)));
}

#[test]
fn a_bad_parameter_is_named_with_its_value() {
    let error = |text: &str| {
        let uri = parse(text);
        let results = [
            uri.required_endpoint().map(drop),
            uri.control_mode().map(drop),
            uri.session_id().map(drop),
            uri.starting_position().map(drop),
            uri.term_length().map(drop),
            uri.mtu().map(drop),
            uri.linger_ns().map(drop),
            uri.receiver_window().map(drop),
        ];
        results.into_iter().find_map(Result::err).unwrap().to_string()
    };
    assert_eq!(error("aeron:udp"), "channel `aeron:udp` has no `endpoint`; expected `endpoint=host:port`");
    assert_eq!(
        error("aeron:udp?endpoint=h"),
        "channel parameter `endpoint`: address `h` cannot be read; expected `host:port`"
    );
    assert_eq!(
        error("aeron:udp?endpoint=h:1|term-length=65537"),
        "channel parameter `term-length` is `65537`; expected a power of two from 64k to 1g"
    );
    for (text, key) in [
        ("control-mode=automatic", "control-mode"),
        ("session-id=4294967296", "session-id"),
        ("session-id=tag:x", "session-id"),
        ("mtu=1400", "mtu"),
        ("mtu=32", "mtu"),
        ("linger=5m", "linger"),
        ("linger=-1", "linger"),
        ("rcv-wnd=2g", "rcv-wnd"),
        ("rcv-wnd=0", "rcv-wnd"),
        ("init-term-id=1|term-id=2", "term-offset"),
        ("init-term-id=1|term-id=2|term-offset=33", "term-offset"),
        ("init-term-id=1|term-id=0|term-offset=32", "term-id"),
    ] {
        let error = error(&format!("aeron:udp?endpoint=h:1|{text}"));
        assert!(error.contains(&format!("`{key}`")), "{text}: {error}");
    }
    // Term ids wrap around, and the difference counts.
    let wrapped = parse("aeron:udp?init-term-id=2147483647|term-id=-2147483648|term-offset=0");
    assert!(wrapped.starting_position().unwrap().is_some());
}

#[test]
fn sizes_and_durations_take_aerons_suffixes() {
    for (text, bytes) in [("0", 0), ("7", 7), ("64k", 65_536), ("1M", 1 << 20), ("2g", 2 << 30)] {
        assert_eq!(parse_size(text), Some(bytes));
    }
    for text in ["", "k", "-1", "+1", "1kb", "1.5m", "99999999999999999999", "18446744073709551615k"] {
        assert_eq!(parse_size(text), None, "{text}");
    }
    for (text, ns) in
        [("5", 5), ("5ns", 5), ("5us", 5_000), ("5MS", 5_000_000), ("5s", 5_000_000_000), ("0", 0)]
    {
        assert_eq!(parse_duration_ns(text), Some(ns));
    }
    for text in ["", "s", "ms", "5m", "5h", "-5s", "5 s", "5sec", "99999999999s"] {
        assert_eq!(parse_duration_ns(text), None, "{text}");
    }
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,80}") {
        let _ = ChannelUri::parse(&text);
        let _ = text.parse::<HostPort>();
        let _ = parse_size(&text);
        let _ = parse_duration_ns(&text);
    }

    #[test]
    fn any_parameters_are_read_or_refused_and_written_back(params in "[a-z:|=?0-9\\[\\]%,-]{0,80}") {
        if let Ok(uri) = ChannelUri::parse(&format!("aeron:udp?{params}")) {
            prop_assert_eq!(&ChannelUri::parse(&uri.to_string()).unwrap(), &uri);
        }
    }

    #[test]
    fn any_value_is_accepted_or_refused(value in "\\PC{0,20}") {
        for key in ["endpoint", "session-id", "term-length", "linger", "mtu", "term-offset"] {
            let mut uri = ChannelUri::udp();
            if uri.put(key, &value).is_ok() {
                let _ = (uri.endpoint(), uri.session_id(), uri.term_length(), uri.linger_ns(), uri.mtu());
                let _ = uri.starting_position();
            }
        }
    }
}
