//! What the child gets of a signal that we got, and what follows. Pure: the clock is an argument.
//!
//! | what came | a command | dbt on leased credentials |
//! | --- | --- | --- |
//! | the terminal's INT, QUIT, TSTP, WINCH | nothing, where it is in our group: it has them already | the same |
//! | INT, QUIT, a terminal's HUP, and all others | the same signal | the same signal |
//! | TERM or HUP from a process | the same signal | INT, so that it cancels its queries; after 2 s the signal itself; after 3.5 s KILL; at 4 s we end |
//!
//! Airflow, among others, kills five seconds after it asked: what is not done by then is the janitor's.
#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::child::End;
use super::signals::Received;

/// How long dbt may take to cancel its queries before it gets the signal itself.
const ITSELF: Duration = Duration::from_secs(2);
/// When it is killed.
const KILL: Duration = Duration::from_millis(3500);
/// How long after a signal that asked us to end we still work, whatever is not done.
pub const AT_MOST: Duration = Duration::from_secs(4);
/// What giving back may take at least where the command itself used up that time.
const AT_LEAST: Duration = Duration::from_millis(500);
/// An end that comes later than this was not caused by the signal: some commands read their settings anew at HUP.
const CAUSE: Duration = Duration::from_secs(30);
/// Within this time a signal may be the same one again, sent to us and then to our group.
const ECHO: Duration = Duration::from_secs(1);

/// A signal that asked us to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Which.
    pub signal: Signal,
    /// When it came.
    pub at: Instant,
}

impl Asked {
    /// One that has just come.
    pub fn now(signal: Signal) -> Self {
        Self {
            signal,
            at: Instant::now(),
        }
    }

    /// When we are gone at the latest.
    pub fn until(self) -> Instant {
        self.at + AT_MOST
    }
}

/// How the child ended, and when everything else must have ended too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The end that we die of: the child's own, or the signal's in whose stead dbt got another.
    pub end: End,
    /// When we must be gone, where a signal asked for it.
    pub until: Option<Instant>,
}

/// What falls due by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// The child gets this signal.
    Send(Signal),
    /// We end now; whatever is left is the janitor's.
    Leave(Ended),
}

/// The course of one child's signals.
#[derive(Debug)]
pub struct Course {
    /// Whether TERM and HUP reach it as INT.
    translates: bool,
    /// Whether it shares our process group, so that the terminal reaches it without us.
    shares_group: bool,
    /// When it last got an INT.
    interrupted: Option<Instant>,
    /// The last signal that asked us to end.
    asked: Option<Asked>,
    /// The end under way in which each step is sent in its time.
    ending: Option<Ending>,
    /// The last signal of each kind that a process sent.
    last: Vec<(Received, Instant)>,
}

/// An end that began with a translated signal.
#[derive(Debug)]
struct Ending {
    asked: Asked,
    steps: [(Instant, Step); 3],
    done: usize,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Itself,
    Kill,
    Leave,
}

impl Course {
    /// For a child that has just started. `translates`: it is dbt, and something is lent to it.
    pub fn new(translates: bool, shares_group: bool) -> Self {
        Self {
            translates,
            shares_group,
            interrupted: None,
            asked: None,
            ending: None,
            last: Vec::new(),
        }
    }

    /// What the child gets of a signal now. `is_echo` is asked whether one that came twice from one process is a single one, sent to us and
    /// to our group.
    pub fn received(
        &mut self,
        received: Received,
        now: Instant,
        is_echo: impl FnOnce() -> bool,
    ) -> Option<Signal> {
        let signal = received.signal;
        if !received.from_kernel {
            let same = self
                .last
                .iter()
                .any(|(last, at)| *last == received && now.duration_since(*at) < ECHO);
            if same && !self.shares_group && is_echo() {
                return None;
            }
            self.last.retain(|(last, _)| last.signal != signal);
            self.last.push((received, now));
        }
        let is_translated = self.translates
            && !received.from_kernel
            && matches!(signal, Signal::SIGTERM | Signal::SIGHUP);
        if is_translated {
            return self.end(signal, now);
        }
        if asks_the_child_to_end(signal) {
            self.asked(Asked { signal, at: now });
        }
        if signal == Signal::SIGINT {
            self.interrupted = Some(now);
        }
        let has_it =
            self.shares_group && received.from_kernel && reaches_the_foreground_group(signal);
        (!has_it).then_some(signal)
    }

    /// When something falls due.
    pub fn next(&self) -> Option<Instant> {
        let ending = self.ending.as_ref()?;
        ending.steps.get(ending.done).map(|(at, _)| *at)
    }

    /// What has fallen due; to be asked again until there is nothing.
    pub fn due(&mut self, now: Instant) -> Option<Due> {
        let ending = self.ending.as_mut()?;
        let (at, step) = *ending.steps.get(ending.done)?;
        if now < at {
            return None;
        }
        ending.done += 1;
        Some(match step {
            Step::Itself => Due::Send(ending.asked.signal),
            Step::Kill => Due::Send(Signal::SIGKILL),
            Step::Leave => Due::Leave(Ended {
                end: End::Signal(ending.asked.signal as i32),
                until: Some(ending.asked.until()),
            }),
        })
    }

    /// How a child's end is ours.
    pub fn ended(&self, end: End, now: Instant) -> Ended {
        if let Some(ending) = &self.ending {
            // dbt's own end by INT is exit 2; without us the signal itself would have ended it.
            return Ended {
                end: End::Signal(ending.asked.signal as i32),
                until: Some(ending.asked.until()),
            };
        }
        let asked = self
            .asked
            .filter(|asked| now.duration_since(asked.at) < CAUSE);
        let until = match (asked, end) {
            (Some(asked), _) => Some(asked.until().max(now + AT_LEAST)),
            // Who signals the child past us is in a hurry too.
            (None, End::Signal(_)) => Some(now + AT_MOST),
            (None, End::Code(_)) => None,
        };
        Ended { end, until }
    }

    /// Begins an end by a translated signal. One that is under way goes on: asking again does not cancel queries any sooner.
    fn end(&mut self, signal: Signal, now: Instant) -> Option<Signal> {
        if self.ending.is_some() {
            return None;
        }
        let asked = Asked { signal, at: now };
        // A second INT would break off what the first one began.
        let begun = self.interrupted.filter(|at| *at + ITSELF > now);
        self.ending = Some(Ending {
            asked,
            steps: [
                (begun.unwrap_or(now) + ITSELF, Step::Itself),
                (now + KILL, Step::Kill),
                (asked.until(), Step::Leave),
            ],
            done: 0,
        });
        if begun.is_some() {
            return None;
        }
        self.interrupted = Some(now);
        Some(Signal::SIGINT)
    }

    /// The first of a row counts; after its time another one begins anew.
    fn asked(&mut self, asked: Asked) {
        let is_under_way = self
            .asked
            .is_some_and(|earlier| earlier.signal == asked.signal && asked.at < earlier.until());
        if !is_under_way {
            self.asked = Some(asked);
        }
    }
}

/// What whoever wants an end sends.
fn asks_the_child_to_end(signal: Signal) -> bool {
    matches!(
        signal,
        Signal::SIGINT | Signal::SIGQUIT | Signal::SIGTERM | Signal::SIGHUP
    )
}

/// What the terminal's driver sends to the whole foreground group. A hangup goes to the session's leader alone, so SIGHUP is not here.
fn reaches_the_foreground_group(signal: Signal) -> bool {
    matches!(
        signal,
        Signal::SIGINT | Signal::SIGQUIT | Signal::SIGTSTP | Signal::SIGWINCH
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn by_process(signal: Signal) -> Received {
        Received {
            signal,
            from_kernel: false,
            sender: 7,
        }
    }

    fn by_terminal(signal: Signal) -> Received {
        Received {
            signal,
            from_kernel: true,
            sender: 0,
        }
    }

    fn not_echo() -> bool {
        false
    }

    #[test]
    fn term_reaches_dbt_as_int_then_as_itself_then_as_kill_and_then_we_leave() {
        for signal in [Signal::SIGTERM, Signal::SIGHUP] {
            let start = Instant::now();
            let mut course = Course::new(true, false);
            assert_eq!(course.next(), None);
            assert_eq!(
                course.received(by_process(signal), start, not_echo),
                Some(Signal::SIGINT)
            );
            let mut seen = Vec::new();
            while let Some(next) = course.next() {
                assert_eq!(course.due(next - MS(1)), None);
                seen.push((next - start, course.due(next).expect("due")));
            }
            let end = Ended {
                end: End::Signal(signal as i32),
                until: Some(start + MS(4000)),
            };
            assert_eq!(
                seen,
                [
                    (MS(2000), Due::Send(signal)),
                    (MS(3500), Due::Send(Signal::SIGKILL)),
                    (MS(4000), Due::Leave(end)),
                ]
            );
            // However dbt ended meanwhile, we die of what we got.
            assert_eq!(course.ended(End::Code(2), start + MS(500)), end);
        }
    }

    #[test]
    fn int_quit_and_a_terminal_s_hangup_are_never_translated() {
        let now = Instant::now();
        for received in [
            by_process(Signal::SIGINT),
            by_process(Signal::SIGQUIT),
            by_terminal(Signal::SIGHUP),
        ] {
            for shares_group in [false, true] {
                let mut course = Course::new(true, shares_group);
                let passed = course.received(received, now, not_echo);
                assert_eq!((passed, course.next()), (Some(received.signal), None));
                let ended = course.ended(End::Code(2), now + MS(1000));
                assert_eq!(ended.end, End::Code(2));
                assert_eq!(ended.until, Some(now + MS(4000)));
            }
        }
    }

    #[test]
    fn other_commands_get_what_we_got() {
        let now = Instant::now();
        let mut course = Course::new(false, false);
        for signal in [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGUSR1] {
            let passed = course.received(by_process(signal), now, not_echo);
            assert_eq!((passed, course.next()), (Some(signal), None));
        }
        assert_eq!(course.ended(End::Code(3), now).end, End::Code(3));
    }

    #[test]
    fn what_the_terminal_sends_to_the_group_is_passed_on_where_the_child_is_not_in_it() {
        let now = Instant::now();
        for signal in [
            Signal::SIGINT,
            Signal::SIGQUIT,
            Signal::SIGTSTP,
            Signal::SIGWINCH,
        ] {
            let pass = |shares_group| {
                Course::new(true, shares_group).received(by_terminal(signal), now, not_echo)
            };
            assert_eq!((pass(true), pass(false)), (None, Some(signal)));
        }
    }

    #[test]
    fn a_term_after_an_int_sends_no_second_int_while_the_first_may_work() {
        let start = Instant::now();
        let mut course = Course::new(true, true);
        let at = |ms| start + MS(ms);
        assert_eq!(
            course.received(by_terminal(Signal::SIGINT), start, not_echo),
            None
        );
        assert_eq!(
            course.received(by_process(Signal::SIGTERM), at(500), not_echo),
            None
        );
        assert_eq!(course.next(), Some(at(2000)));
        assert_eq!(course.due(at(2000)), Some(Due::Send(Signal::SIGTERM)));
        assert_eq!(course.next(), Some(at(4000)));
    }

    #[test]
    fn an_echo_is_dropped_and_a_second_signal_is_not() {
        let start = Instant::now();
        for signal in [Signal::SIGTERM, Signal::SIGUSR1] {
            let mut course = Course::new(false, false);
            let mut pass = |ms, echo| course.received(by_process(signal), start + MS(ms), || echo);
            assert_eq!(pass(0, true), Some(signal));
            assert_eq!(pass(1, true), None);
            assert_eq!(pass(2, false), Some(signal));
            assert_eq!(pass(1003, true), Some(signal));
        }
        // Two signals' handlers run in the reverse of their order.
        let mut course = Course::new(false, false);
        let mut pass = |signal| course.received(by_process(signal), start, || true);
        assert_eq!(pass(Signal::SIGTERM), Some(Signal::SIGTERM));
        assert_eq!(pass(Signal::SIGCONT), Some(Signal::SIGCONT));
        assert_eq!(pass(Signal::SIGTERM), None);
    }

    #[test]
    fn giving_back_has_what_is_left_of_four_seconds_and_never_nothing() {
        let start = Instant::now();
        let mut course = Course::new(false, false);
        assert_eq!(course.ended(End::Code(0), start).until, None);
        assert_eq!(
            course.ended(End::Signal(9), start).until,
            Some(start + MS(4000))
        );
        course.received(by_process(Signal::SIGTERM), start, not_echo);
        let until = |ms| course.ended(End::Code(0), start + MS(ms)).until;
        assert_eq!(until(1000), Some(start + MS(4000)));
        assert_eq!(until(3900), Some(start + MS(4400)));
        assert_eq!(until(20_000), Some(start + MS(20_500)));
        // An hour later it was not this signal.
        assert_eq!(until(3_600_000), None);
    }

    proptest! {
        #[test]
        fn whatever_comes_dbt_gets_one_int_for_it_and_is_left_within_four_seconds(
            shares_group: bool,
            signals in proptest::collection::vec((0usize..6, any::<bool>(), 0u64..1500), 1..40),
        ) {
            const KINDS: [Signal; 6] = [
                Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGUSR1, Signal::SIGWINCH,
            ];
            let start = Instant::now();
            let mut now = start;
            let mut course = Course::new(true, shares_group);
            let mut asked: Option<Asked> = None;
            let (mut got, mut ints, mut sent_ints) = (Vec::new(), 0, 0);
            'all: for (kind, from_kernel, pause) in signals {
                let arrives = now + MS(pause);
                while let Some(next) = course.next().filter(|next| *next <= arrives) {
                    now = now.max(next);
                    match course.due(now) {
                        Some(Due::Send(signal)) => got.push((signal, now)),
                        Some(Due::Leave(_)) => break 'all,
                        None => prop_assert!(false, "next() promised something"),
                    }
                }
                now = arrives;
                let signal = KINDS[kind];
                let received = Received { signal, from_kernel, sender: i32::from(!from_kernel) };
                let is_translated = !from_kernel && matches!(signal, Signal::SIGTERM | Signal::SIGHUP);
                if is_translated && asked.is_none() {
                    asked = Some(Asked { signal, at: now });
                }
                sent_ints += usize::from(signal == Signal::SIGINT);
                if let Some(passed) = course.received(received, now, not_echo) {
                    // Never TERM or HUP of a process at once, and nothing else is changed.
                    let expected = if is_translated { Signal::SIGINT } else { signal };
                    prop_assert_eq!(passed, expected);
                    ints += usize::from(passed == Signal::SIGINT);
                }
            }
            while let Some(next) = course.next() {
                now = now.max(next);
                match course.due(now) {
                    Some(Due::Send(signal)) => got.push((signal, now)),
                    Some(Due::Leave(ended)) => {
                        let asked = asked.expect("asked");
                        prop_assert_eq!(ended.end, End::Signal(asked.signal as i32));
                        prop_assert!(now <= asked.until());
                    }
                    None => prop_assert!(false, "next() promised something"),
                }
            }
            prop_assert!(ints <= sent_ints + usize::from(asked.is_some()), "{ints} INT for {sent_ints}");
            match asked {
                None => prop_assert!(got.is_empty()),
                Some(asked) => {
                    prop_assert_eq!(got.iter().map(|(signal, _)| *signal).collect::<Vec<_>>(), [asked.signal, Signal::SIGKILL]);
                    prop_assert!(got.iter().all(|(_, at)| *at <= asked.at + KILL));
                    prop_assert!(got[0].1 <= asked.at + ITSELF && got[1].1 == asked.at + KILL);
                }
            }
        }
    }
}
