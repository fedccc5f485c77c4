//! Renewal: when a lease or a token is renewed, and what is said when that does not work. Pure arithmetic but for [`keep`], whose clock and
//! renewal are arguments.
//!
//! Times are [`Duration`]s of CLOCK_BOOTTIME, which goes on while the machine is suspended, as a lease's life does. A life is counted
//! from before its request was sent, so it never ends earlier than we think.
#![forbid(unsafe_code)]

use std::cell::RefCell;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

use crate::vault::error::VaultError;
use crate::vault::renew;

/// The longest sleep: after a suspension the timer is late by as much as the machine slept, and no more than this.
const TICK: Duration = Duration::from_secs(30);
/// The shortest time between two tries.
const SHORTEST: Duration = Duration::from_millis(500);
/// The longest time that one try may take.
const LONGEST_TRY: Duration = Duration::from_secs(10);

/// The machine's time since it started, suspensions included.
///
/// Where the clock cannot be read (no Linux is known where), no time passes and nothing is renewed.
pub fn boottime() -> Duration {
    #[cfg(target_os = "linux")]
    const CLOCK: ClockId = ClockId::CLOCK_BOOTTIME;
    // macOS: CLOCK_MONOTONIC goes on while the machine sleeps.
    #[cfg(not(target_os = "linux"))]
    const CLOCK: ClockId = ClockId::CLOCK_MONOTONIC;
    clock_gettime(CLOCK).map(Duration::from).unwrap_or_default()
}

/// Something that lives for a time: a lease, a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Life {
    /// When it was granted.
    from: Duration,
    /// How long it lives from then on.
    lasts: Duration,
    /// What is asked for at each renewal: what the first grant gave.
    increment: Duration,
    state: State,
    /// Why the last try has failed, since the last that worked.
    trouble: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// It is renewed at this time; so many tries have failed since the last success.
    Renewed { at: Duration, failures: u32 },
    /// Its end is fixed: by its max_ttl, by the server's word, or since it cannot be renewed at all.
    Fixed,
    /// It has ended, and that was said.
    Ended,
}

/// What happened to a life, for the user. `ends_in` is the time that is left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A renewal failed, and is tried again.
    Failing {
        /// Why.
        why: String,
        /// The time that is left.
        ends_in: Duration,
    },
    /// A renewal has worked again.
    Recovered,
    /// It was renewed for less than was asked for: its max_ttl is near, and this end is its last.
    LastEnd {
        /// The time that is left.
        ends_in: Duration,
    },
    /// The server refused for good.
    Refused {
        /// Why.
        why: String,
        /// The time that is left.
        ends_in: Duration,
    },
    /// It has ended while it was in use.
    Ended {
        /// Why it was not renewed, where a try has failed.
        why: Option<String>,
    },
}

/// Why a renewal failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It may pass: no answer, a sealed server, a rate limit.
    Passing(String),
    /// The server has decided.
    Final(String),
}

impl From<VaultError> for Trouble {
    fn from(error: VaultError) -> Self {
        let hint = error
            .hint()
            .map(|hint| format!(" ({hint})"))
            .unwrap_or_default();
        let why = format!("{error}{hint}");
        if renew::is_final(&error) {
            Self::Final(why)
        } else {
            Self::Passing(why)
        }
    }
}

/// A number from 0 to 1 that runs which were started together do not share.
pub fn jitter() -> f64 {
    let mut byte = [0];
    // Without random bytes there is no jitter, and nothing else is lost.
    let _ = getrandom::fill(&mut byte);
    f64::from(byte[0]) / 255.0
}

impl Life {
    /// A life that was granted at `from`. `jitter` (0 to 1) spreads renewals of runs that were started together.
    pub fn new(from: Duration, lasts: Duration, renewable: bool, jitter: f64) -> Self {
        let state = if renewable {
            State::Renewed {
                at: from + share(lasts, jitter),
                failures: 0,
            }
        } else {
            State::Fixed
        };
        Self {
            from,
            lasts,
            increment: lasts,
            state,
            trouble: None,
        }
    }

    /// When it ends unless it is renewed.
    pub fn ends(&self) -> Duration {
        self.from + self.lasts
    }

    /// Whether it is renewed, as far as is known now.
    pub fn is_renewed(&self) -> bool {
        matches!(self.state, State::Renewed { .. })
    }

    /// When it was granted, and for how long.
    pub fn granted(&self) -> (Duration, Duration) {
        (self.from, self.lasts)
    }

    /// What to ask for.
    pub fn increment(&self) -> Duration {
        self.increment
    }

    /// When something is to be done next; never after its end has been said.
    pub fn due(&self) -> Option<Duration> {
        match self.state {
            State::Renewed { at, .. } => Some(at.min(self.ends())),
            State::Fixed => Some(self.ends()),
            State::Ended => None,
        }
    }

    /// Whether a renewal is to be tried now.
    pub fn wants_renewal(&self, now: Duration) -> bool {
        matches!(self.state, State::Renewed { at, .. } if at <= now && now < self.ends())
    }

    /// How long the next try may take: it must leave time for another one.
    pub fn patience(&self, now: Duration) -> Duration {
        (self.ends().saturating_sub(now) / 3).clamp(SHORTEST, LONGEST_TRY)
    }

    /// A renewal that was sent at `sent` granted `lasts`.
    pub fn renewed(
        &mut self,
        sent: Duration,
        lasts: Duration,
        now: Duration,
        jitter: f64,
    ) -> Option<Event> {
        let had_failed = matches!(self.state, State::Renewed { failures: 1.., .. });
        (self.from, self.lasts) = (sent, lasts);
        self.trouble = None;
        // A renewal that gives a tenth less than was asked for has met the max_ttl: further ones would give less and less.
        if lasts < self.increment - self.increment / 10 {
            self.state = State::Fixed;
            return Some(Event::LastEnd {
                ends_in: self.ends().saturating_sub(now),
            });
        }
        self.state = State::Renewed {
            at: sent + share(lasts, jitter),
            failures: 0,
        };
        had_failed.then_some(Event::Recovered)
    }

    /// A renewal failed. Told once, not at each try.
    pub fn failed(&mut self, trouble: Trouble, now: Duration) -> Option<Event> {
        let ends_in = self.ends().saturating_sub(now);
        let (Trouble::Passing(why) | Trouble::Final(why)) = &trouble;
        self.trouble = Some(why.clone());
        match (trouble, &self.state) {
            (Trouble::Final(why), _) => {
                self.state = State::Fixed;
                Some(Event::Refused { why, ends_in })
            }
            (Trouble::Passing(why), State::Renewed { failures, .. }) => {
                let failures = failures + 1;
                // At least eight tries in what is left, at most one in half a second, and no more than 15 s apart.
                let pause = (ends_in / 8).clamp(SHORTEST, Duration::from_secs(15));
                self.state = State::Renewed {
                    at: now + pause,
                    failures,
                };
                (failures == 1).then_some(Event::Failing { why, ends_in })
            }
            (Trouble::Passing(_), State::Fixed | State::Ended) => None,
        }
    }

    /// Says the end, once.
    pub fn end(&mut self, now: Duration) -> Option<Event> {
        if now < self.ends() || self.state == State::Ended {
            return None;
        }
        self.state = State::Ended;
        Some(Event::Ended {
            why: self.trouble.take(),
        })
    }
}

/// The official client's share of a life after which it is renewed: two thirds, and up to a tenth more.
fn share(lasts: Duration, jitter: f64) -> Duration {
    lasts.mul_f64(0.66 + 0.08 * jitter.clamp(0.0, 1.0))
}

/// Keeps lives up for as long as it is polled; it never returns. One renewal at a time, the most urgent first.
///
/// `renew` gets the number of a life, what to ask for, and how long it may take. `tell` gets what happened to it.
pub async fn keep(
    lives: &RefCell<Vec<Life>>,
    clock: impl Fn() -> Duration,
    jitter: impl Fn() -> f64,
    renew: impl AsyncFn(usize, Duration, Duration) -> Result<Duration, Trouble>,
    mut tell: impl FnMut(usize, Event),
) -> std::convert::Infallible {
    loop {
        let now = clock();
        let next = lives
            .borrow()
            .iter()
            .enumerate()
            .filter_map(|(number, life)| Some((life.due()?, number)))
            .min();
        let Some((due, number)) = next else {
            return std::future::pending().await;
        };
        if now < due {
            // A sleep counts awake time alone; the clock is asked again after each tick.
            tokio::time::sleep((due - now).min(TICK)).await;
            continue;
        }
        let attempt = {
            let lives = lives.borrow();
            let life = &lives[number];
            // Another one's end is said when it comes, whatever is tried then.
            let first_end = lives
                .iter()
                .filter(|life| life.due().is_some())
                .map(Life::ends)
                .min();
            let until_then = first_end.map_or(LONGEST_TRY, |end| end.saturating_sub(now));
            let patience = life.patience(now).min(until_then.max(SHORTEST));
            life.wants_renewal(now)
                .then(|| (life.increment(), patience))
        };
        let event = match attempt {
            None => lives.borrow_mut()[number].end(now),
            Some((increment, patience)) => {
                let granted = renew(number, increment, patience).await;
                let life = &mut lives.borrow_mut()[number];
                match granted {
                    Ok(lasts) => life.renewed(now, lasts, clock(), jitter()),
                    Err(trouble) => life.failed(trouble, clock()),
                }
            }
        };
        if let Some(event) = event {
            tell(number, event);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;

    #[test]
    fn a_life_is_renewed_at_two_thirds_and_again() {
        let mut life = Life::new(S(100), S(60), true, 0.0);
        assert!(life.due().is_some_and(|due| due > S(139) && due < S(140)));
        assert!(!life.wants_renewal(S(139)) && life.wants_renewal(S(140)));
        assert_eq!(life.renewed(S(140), S(60), S(141), 0.0), None);
        assert_eq!(life.ends(), S(200));
    }

    #[test]
    fn a_grant_that_is_shorter_than_asked_is_the_last() {
        let mut life = Life::new(S(0), S(60), true, 0.0);
        assert_eq!(
            life.renewed(S(40), S(20), S(41), 0.0),
            Some(Event::LastEnd { ends_in: S(19) })
        );
        assert_eq!(life.due(), Some(S(60)));
        assert!(!life.wants_renewal(S(50)));
        assert_eq!(life.end(S(59)), None);
        assert_eq!(life.end(S(60)), Some(Event::Ended { why: None }));
        assert_eq!((life.end(S(61)), life.due()), (None, None));
    }

    #[test]
    fn passing_trouble_is_told_once_and_recovery_too() {
        let mut life = Life::new(S(0), S(60), true, 0.0);
        let trouble = || Trouble::Passing("gone".to_owned());
        assert_eq!(
            life.failed(trouble(), S(40)),
            Some(Event::Failing {
                why: "gone".to_owned(),
                ends_in: S(20)
            })
        );
        assert_eq!(life.failed(trouble(), S(43)), None);
        assert_eq!(
            life.renewed(S(46), S(60), S(47), 0.0),
            Some(Event::Recovered)
        );
        assert_eq!(life.ends(), S(106));
    }

    #[test]
    fn a_refusal_for_good_ends_the_tries() {
        let mut life = Life::new(S(0), S(60), true, 0.0);
        let event = life.failed(Trouble::Final("lease not found".to_owned()), S(40));
        assert_eq!(
            event,
            Some(Event::Refused {
                why: "lease not found".to_owned(),
                ends_in: S(20)
            })
        );
        assert!(!life.wants_renewal(S(41)));
    }

    #[test]
    fn an_end_says_why_the_last_try_failed_unless_one_has_worked_since() {
        let mut life = Life::new(S(0), S(60), true, 0.0);
        life.failed(Trouble::Passing("sealed".to_owned()), S(40));
        let mut other = life.clone();
        let why = Some("sealed".to_owned());
        assert_eq!(life.end(S(60)), Some(Event::Ended { why }));
        other.renewed(S(45), S(5), S(46), 0.0);
        assert_eq!(other.end(S(60)), Some(Event::Ended { why: None }));
    }

    #[test]
    fn a_slow_try_does_not_hold_back_another_one_s_end() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a runtime");
        // At 40 s the first one is due, and the second has two seconds left.
        let lives = RefCell::new(vec![
            Life::new(S(0), S(60), true, 0.0),
            Life::new(S(0), S(42), false, 0.0),
        ]);
        let allowed = std::cell::Cell::new(Duration::ZERO);
        let renew = async |_: usize, _: Duration, within: Duration| {
            allowed.set(within);
            std::future::pending().await
        };
        let keeping = keep(&lives, || S(40), || 0.0, renew, |_, _| {});
        let some_time = Duration::from_millis(20);
        let _ = runtime.block_on(async { tokio::time::timeout(some_time, keeping).await });
        assert_eq!(allowed.get(), S(2));
    }

    #[test]
    fn what_cannot_be_renewed_has_its_end_told() {
        let mut life = Life::new(S(0), S(60), false, 0.0);
        assert_eq!(life.due(), Some(S(60)));
        assert_eq!(life.end(S(75)), Some(Event::Ended { why: None }));
    }

    proptest! {
        #[test]
        fn however_a_server_behaves_tries_are_bounded_and_the_end_is_told_once(
            lasts in 1u64..100_000,
            jitter in 0.0f64..1.0,
            answers in proptest::collection::vec((0u8..4, 1u64..100_000, 0u64..20_000), 0..200),
        ) {
            let mut now = S(1_000);
            let mut life = Life::new(now, S(lasts), true, jitter);
            let mut ends = 0;
            let mut last_try: Option<Duration> = None;
            let mut failing = false;
            for (answer, granted, delay) in answers.into_iter().chain(std::iter::repeat_n((0, 1, 0), 400)) {
                let Some(due) = life.due() else { break };
                // Never due in the past of what was asked for, never after the end.
                prop_assert!(due <= life.ends());
                now = now.max(due);
                if !life.wants_renewal(now) {
                    if life.end(now).is_some() { ends += 1; }
                    continue;
                }
                if let Some(last) = last_try {
                    prop_assert!(!failing || now >= last + SHORTEST, "two tries in {:?}", now - last);
                }
                last_try = Some(now);
                let sent = now;
                let patience = life.patience(now);
                prop_assert!(patience >= SHORTEST && patience <= LONGEST_TRY);
                now += patience.min(Duration::from_millis(delay));
                failing = match answer {
                    0 | 1 => { life.failed(Trouble::Passing(String::new()), now); true }
                    2 => { life.renewed(sent, S(granted), now, jitter); false }
                    _ => { life.failed(Trouble::Final(String::new()), now); false }
                };
            }
            prop_assert!(ends <= 1);
        }

        #[test]
        fn a_server_that_is_back_before_the_last_tenth_is_met_in_time(lasts in 10u64..100_000, gone in 0.0f64..0.9) {
            let mut life = Life::new(S(0), S(lasts), true, 0.5);
            let back = S(lasts).mul_f64(gone);
            let mut now = life.due().expect("due");
            while now < life.ends() {
                if now >= back {
                    life.renewed(now, S(lasts), now, 0.5);
                    return Ok(());
                }
                life.failed(Trouble::Passing(String::new()), now);
                now = life.due().expect("due");
            }
            prop_assert!(false, "no try after the server was back");
        }
    }
}
