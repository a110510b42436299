use super::*;
use crate::agent::CompositeAgent;
use crate::store::cnc::{CncFile, CncReader, CncSettings};
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::sync::Mutex;
use std::time::Instant;

type Events = Arc<Mutex<Vec<String>>>;

/// Does one step of its script a cycle, and notes what the runner does with it.
struct Scripted {
    name: &'static str,
    events: Events,
    start: Result<(), &'static str>,
    work: fn(u64) -> Result<usize, AgentError>,
    cycle_count: u64,
}

impl Scripted {
    fn new(name: &'static str, events: &Events, work: fn(u64) -> Result<usize, AgentError>) -> Self {
        Self { name, events: Arc::clone(events), start: Ok(()), work, cycle_count: 0 }
    }

    fn note(&self, what: &str) {
        self.events.lock().unwrap().push(format!("{} {what}", self.name));
    }
}

impl Agent for Scripted {
    fn name(&self) -> &str {
        self.name
    }

    fn on_start(&mut self) -> Result<(), AgentError> {
        self.note("starts");
        Ok(self.start?)
    }

    fn do_work(&mut self, _now_ns: u64) -> Result<usize, AgentError> {
        self.cycle_count += 1;
        (self.work)(self.cycle_count)
    }

    fn on_close(&mut self) {
        self.note("closes");
    }
}

fn config() -> RunnerConfig {
    RunnerConfig {
        thread_name: "agent-under-test".into(),
        core: None,
        idle: IdleStrategy::Sleep(Duration::from_millis(1)),
        cycle_threshold: Duration::from_millis(30),
        cycle_gauges: Vec::new(),
    }
}

fn idle(_cycle: u64) -> Result<usize, AgentError> {
    Ok(0)
}

fn fails_later(cycle: u64) -> Result<usize, AgentError> {
    if cycle < 3 { Ok(1) } else { Err("the disk is full".into()) }
}

fn panics_later(cycle: u64) -> Result<usize, AgentError> {
    assert!(cycle < 3, "position {cycle} went back");
    Ok(1)
}

fn events(events: &Events) -> Vec<String> {
    events.lock().unwrap().clone()
}

fn run_to_end(config: RunnerConfig, agent: impl Agent + Send + 'static) -> Result<(), RunnerError> {
    let stop = StopFlag::new();
    let result = AgentRunner::start(config, agent, stop.clone()).unwrap().join();
    assert!(stop.is_stopped(), "the others would go on without this agent");
    result
}

#[test]
fn a_stopped_runner_closes_its_agent_and_reports_success() {
    let notes = Events::default();
    let runner = AgentRunner::start(config(), Scripted::new("a", &notes, idle), StopFlag::new()).unwrap();
    thread::sleep(Duration::from_millis(5));
    assert!(!runner.is_finished());
    runner.stop();
    runner.join().unwrap();
    assert_eq!(events(&notes), ["a starts", "a closes"]);
}

#[test]
fn stopping_wakes_a_sleeping_runner() {
    let config = RunnerConfig { idle: IdleStrategy::Sleep(Duration::from_secs(60)), ..config() };
    let runner =
        AgentRunner::start(config, Scripted::new("a", &Events::default(), idle), StopFlag::new()).unwrap();
    thread::sleep(Duration::from_millis(20));
    let start = Instant::now();
    runner.stop();
    runner.join().unwrap();
    assert!(start.elapsed() < Duration::from_secs(10));
}

#[test]
fn an_error_stops_every_runner_of_the_node_and_names_the_agent() {
    let notes = Events::default();
    let stop = StopFlag::new();
    let other = AgentRunner::start(config(), Scripted::new("b", &notes, idle), stop.clone()).unwrap();
    let failing = AgentRunner::start(config(), Scripted::new("a", &notes, fails_later), stop).unwrap();
    let error = failing.join().unwrap_err();
    assert_eq!(error.to_string(), "agent a failed: the disk is full");
    other.join().unwrap();
    assert!(events(&notes).contains(&"a closes".to_owned()));
    assert!(events(&notes).contains(&"b closes".to_owned()));
}

#[test]
fn a_panic_is_reported_with_its_message_and_leaves_the_agent_unclosed() {
    let notes = Events::default();
    let error = run_to_end(config(), Scripted::new("a", &notes, panics_later)).unwrap_err();
    assert_eq!(error.to_string(), "agent a panicked: position 3 went back");
    assert_eq!(events(&notes), ["a starts"]);
}

/// Applies a log, and fails at what comes next.
struct Applying;

impl Agent for Applying {
    fn name(&self) -> &str {
        "service-0"
    }

    fn do_work(&mut self, _now_ns: u64) -> Result<usize, AgentError> {
        panic!("a negative price")
    }

    fn running_position(&self) -> Option<i64> {
        Some(640)
    }
}

#[test]
fn a_panic_of_who_applies_the_log_is_reported_with_the_position() {
    let text = "agent service-0 panicked at what comes behind log position 640: a negative price";
    assert_eq!(run_to_end(config(), Applying).unwrap_err().to_string(), text);
    let composite = CompositeAgent::new(vec![Box::new(Applying)]);
    assert_eq!(run_to_end(config(), composite).unwrap_err().to_string(), text);
}

#[test]
fn a_failure_inside_a_composite_names_the_member() {
    for (work, expected) in [
        (fails_later as fn(u64) -> _, "agent b failed: the disk is full"),
        (panics_later, "agent b panicked: position 3 went back"),
    ] {
        let notes = Events::default();
        let composite = CompositeAgent::new(vec![
            Box::new(Scripted::new("a", &notes, idle)),
            Box::new(Scripted::new("b", &notes, work)),
            Box::new(Scripted::new("c", &notes, idle)),
        ]);
        assert_eq!(composite.name(), "a+b+c");
        assert_eq!(run_to_end(config(), composite).unwrap_err().to_string(), expected);
    }
}

#[test]
fn a_composite_that_cannot_start_closes_only_what_started() {
    let notes = Events::default();
    let mut broken = Scripted::new("b", &notes, idle);
    broken.start = Err("no such directory");
    let composite = CompositeAgent::new(vec![
        Box::new(Scripted::new("a", &notes, idle)),
        Box::new(broken),
        Box::new(Scripted::new("c", &notes, idle)),
    ]);
    let error = run_to_end(config(), composite).unwrap_err();
    assert_eq!(error.to_string(), "agent b could not start: no such directory");
    assert_eq!(events(&notes), ["a starts", "b starts", "a closes"]);
}

#[test]
fn a_composite_closes_in_reverse_and_adds_up_the_work() {
    let notes = Events::default();
    let mut composite = CompositeAgent::new(vec![
        Box::new(Scripted::new("a", &notes, |_| Ok(2))),
        Box::new(Scripted::new("b", &notes, |_| Ok(3))),
    ]);
    composite.on_start().unwrap();
    assert_eq!(composite.do_work(0).unwrap(), 5);
    composite.on_close();
    assert_eq!(events(&notes), ["a starts", "b starts", "b closes", "a closes"]);
}

/// Finds nothing to do twenty times, though there is more to come.
#[derive(Default)]
struct CatchingUp {
    cycle_count: u32,
}

impl Agent for CatchingUp {
    fn name(&self) -> &str {
        "catching-up"
    }

    fn do_work(&mut self, _now_ns: u64) -> Result<usize, AgentError> {
        self.cycle_count += 1;
        if self.cycle_count <= 20 { Ok(0) } else { Err("enough".into()) }
    }

    fn is_catching_up(&self) -> bool {
        true
    }
}

#[test]
fn a_thread_with_one_agent_that_is_catching_up_sleeps_where_it_would_spin() {
    let spins_for_ever = "backoff(4294967295,0,1us,1ms)".parse().unwrap();
    let composite = CompositeAgent::new(vec![
        Box::<CatchingUp>::default(),
        Box::new(Scripted::new("a", &Events::default(), idle)),
    ]);
    let start = Instant::now();
    run_to_end(RunnerConfig { idle: spins_for_ever, ..config() }, composite).unwrap_err();
    assert!(start.elapsed() > Duration::from_millis(10), "{:?}", start.elapsed());
}

/// Ends with the first datagram that it takes, or after so many cycles.
struct Listening {
    socket: UdpSocket,
    takes: bool,
    cycle_count_max: u32,
}

impl Listening {
    fn new(takes: bool, cycle_count_max: u32) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        Self { socket, takes, cycle_count_max }
    }

    fn sender(&self) -> impl FnOnce() + Send + 'static {
        let to = self.socket.local_addr().unwrap();
        move || assert_eq!(UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"wake up", to).unwrap(), 7)
    }
}

impl Agent for Listening {
    fn name(&self) -> &str {
        "listening"
    }

    fn do_work(&mut self, _now_ns: u64) -> Result<usize, AgentError> {
        self.cycle_count_max = self.cycle_count_max.checked_sub(1).ok_or("enough")?;
        if self.takes && self.socket.recv(&mut [0; 100]).is_ok() {
            return Err("a datagram".into());
        }
        Ok(0)
    }

    fn sleep_at(&self, readiness: &mut Readiness) {
        readiness.add(self.socket.as_raw_fd());
    }
}

#[test]
fn a_datagram_ends_the_sleep_of_a_thread_that_backs_off() {
    let idle = "backoff(0,0,1s,1s)".parse().unwrap();
    let listening = Listening::new(true, u32::MAX);
    let send = listening.sender();
    let composite = CompositeAgent::new(vec![
        Box::new(Scripted::new("a", &Events::default(), |_| Ok(0))),
        Box::new(listening),
    ]);
    let sender = thread::spawn(|| {
        thread::sleep(Duration::from_millis(20));
        send();
    });
    let start = Instant::now();
    let error = run_to_end(RunnerConfig { idle, ..config() }, composite).unwrap_err();
    assert_eq!(error.to_string(), "agent listening failed: a datagram");
    assert!(start.elapsed() < Duration::from_millis(900), "{:?}", start.elapsed());
    sender.join().unwrap();
}

#[test]
fn a_datagram_that_nobody_takes_does_not_make_a_sleeping_thread_spin() {
    let idle = "backoff(0,0,1ms,1ms)".parse().unwrap();
    let listening = Listening::new(false, 40);
    listening.sender()();
    let start = Instant::now();
    run_to_end(RunnerConfig { idle, ..config() }, listening).unwrap_err();
    assert!(start.elapsed() >= Duration::from_millis(19), "{:?}", start.elapsed());
}

#[test]
fn a_core_that_does_not_exist_is_an_error_before_the_agent_starts() {
    let notes = Events::default();
    let config = RunnerConfig { core: Some(4000), ..config() };
    let error = run_to_end(config, Scripted::new("a", &notes, idle)).unwrap_err();
    assert!(error.to_string().starts_with("thread agent-under-test: core 4000 is not available"), "{error}");
    assert!(events(&notes).is_empty());
}

#[test]
fn a_long_cycle_is_measured_and_counted_once() {
    let dir = tempfile::tempdir().unwrap();
    let (_cnc, mut counters) = CncFile::create(dir.path(), &CncSettings::default(), 1).unwrap();
    let threshold = Duration::from_nanos(100);
    let gauges = CycleGauges::allocate_for_service(&mut counters, 0, 3, threshold).unwrap();
    let times = CycleTimes::new(threshold, vec![gauges.clone()]);
    for cycle_ns in [5, 100, 101, 70] {
        times.record(cycle_ns);
    }
    assert_eq!((times.max_ns(), times.threshold_exceeded_count()), (101, 1));
    assert_eq!((gauges.max_ns.get(), gauges.exceeded_count.get()), (101, 1));
    let exceeded = CncReader::open(dir.path()).unwrap().find(219, &[]).unwrap();
    assert_eq!(
        exceeded.label,
        "Cluster container work cycle time exceeded count: threshold=100ns - clusterId=0 serviceId=3"
    );

    let stalls = |cycle| {
        if cycle == 2 {
            thread::sleep(Duration::from_millis(40));
        }
        Ok(if cycle < 5 { 1 } else { return Err("enough".into()) })
    };
    let runner =
        AgentRunner::start(config(), Scripted::new("a", &Events::default(), stalls), StopFlag::new())
            .unwrap();
    let times = Arc::clone(runner.cycle_times());
    runner.join().unwrap_err();
    assert!(times.max_ns() >= 40_000_000, "{}", times.max_ns());
    assert!(times.threshold_exceeded_count() >= 1);
}

#[test]
fn the_thread_carries_its_name() {
    fn check(_cycle: u64) -> Result<usize, AgentError> {
        Err(thread::current().name().unwrap_or("none").into())
    }
    let error = run_to_end(config(), Scripted::new("a", &Events::default(), check)).unwrap_err();
    assert_eq!(error.to_string(), "agent a failed: agent-under-test");
}
