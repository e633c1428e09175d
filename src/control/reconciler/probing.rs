//! When the reconciler probes whom, and what it makes of the answers.

use super::*;

/// Least time between two probes of a candidate while its site is fenced.
const FENCING_PACE: Duration = Duration::from_millis(500);

/// Time between two probes of a candidate of a site that waits. What they say can't be used before its epoch is fenced,
/// which is usually so before the first of them.
fn pace(entry: &SiteEntry) -> Duration {
    let pace = entry.config.health.held_interval;
    if matches!(entry.core.phase(), Phase::Fencing { .. }) { pace.max(FENCING_PACE) } else { pace }
}

/// Whether a look is to prove whoever answers, and since when the site is vacant: where thousands come up at a time, each takes
/// one connection less. Only where one has just come up, for a proof is patient with who is silent.
fn proves(entry: &SiteEntry, backend: &Backend, class: Class) -> Option<u64> {
    let hooks = &entry.config.hooks;
    let is_direct = hooks.fence.is_none() && hooks.start.is_none() && backend.name().is_none();
    entry.core.vacant_since().filter(|_| class == Class::Risen && is_direct)
}

/// How soon a look is wanted that a verdict is waited for.
fn urgency(entry: &SiteEntry, backend: &Backend) -> Class {
    let may_fall = matches!(entry.core.phase(), Phase::Serving | Phase::Draining(_));
    match may_fall && entry.core.pin().is_some_and(|pin| pin.backend == *backend) {
        true => Class::Doubted,
        false if entry.gate.held() > 0 => Class::Readers,
        false => Class::Urgent,
    }
}

/// Whether the neighbours at an address are to be looked at again; if so, that is written down.
fn is_time(looked: &mut HashMap<IpAddr, Instant>, address: IpAddr, now: Instant) -> bool {
    let is_time = looked.get(&address).is_none_or(|before| now >= *before + LOOKS_AT_NEIGHBOURS);
    if is_time {
        looked.retain(|_, before| now < *before + LOOKS_AT_NEIGHBOURS);
        looked.insert(address, now);
    }
    is_time
}

impl Reconciler {
    pub(super) fn probed(&mut self, target: Target, seen: Seen, took: Duration, proves: Option<u64>) {
        let Some(again) = self.schedule.done(&target) else { return };
        let (key, backend) = target;
        let Some(entry) = self.sites.get(&key) else { return };
        // A cold application that works off a queue may be late with a probe while it answers its readers. The margin is
        // that of the coarse clock: the answer came after the probe had begun, for certain.
        let since = took.saturating_sub(2 * crate::clock::ROUND);
        let well =
            seen.is_well() || seen == Seen::TimedOut && self.is_proved_by_traffic(entry, &backend, since);
        let Some(entry) = self.sites.get_mut(&key) else { return };
        let asked = !matches!(seen, Seen::NotAsked(_));
        entry.last_probes.note(backend.clone(), LastProbe::new(seen, took));
        if !asked {
            return self.plan_next(key, backend, false);
        }
        // What was seen before somebody was let in proves nothing after it.
        let is_proof = well && proves.is_some() && proves == entry.core.vacant_since();
        self.saw(key, &backend, well);
        if self.follows() {
            return;
        }
        match self.looks(key, &backend, well) {
            0 => self.look_again(key, backend),
            looks => {
                self.proved = is_proof.then(|| (key, backend.clone()));
                self.take_in(key, backend, well, looks, again);
                self.proved = None;
            }
        }
    }

    /// Has the core take in what was seen, and how many have looked.
    pub(super) fn take_in(
        &mut self,
        key: SiteKey,
        backend: Backend,
        well: bool,
        looks: usize,
        again: Option<Class>,
    ) {
        let serves = |entry: &SiteEntry| {
            let has_fallen = |c: &Candidate| c.backend == backend && c.health.is_unwell();
            let is_pinned = entry.core.pin().is_some_and(|pin| pin.backend == backend);
            is_pinned && !entry.core.candidates().iter().any(has_fallen)
        };
        let is_well = |entry: &SiteEntry| {
            entry.core.candidates().iter().any(|c| c.backend == backend && c.health.is_well())
        };
        let before = self.sites.get(&key).map(|entry| (serves(entry), is_well(entry)));
        for _ in 0..looks {
            self.step(key, Input::Probed { backend: backend.clone(), well });
        }
        let after = self.sites.get(&key).map(|entry| (serves(entry), is_well(entry)));
        if let Some(((served, was_well), (serves, is_well))) = before.zip(after) {
            if served && !serves {
                self.suspect_neighbours(key);
            }
            if is_well && !was_well {
                self.hurry_neighbours(key, &backend);
            }
        }
        self.look_at_unseen();
        let has_risen = again == Some(Class::Risen)
            && self.sites.get(&key).is_some_and(|entry| entry.core.is_urgent(&backend));
        if has_risen {
            return self.schedule.plan((key, backend), Class::Risen, Instant::now());
        }
        self.plan_next(key, backend, again.is_some());
    }

    pub(super) fn plan_next(&mut self, key: SiteKey, backend: Backend, at_once: bool) {
        // The fleet's controller probes for all; what an edge suspects it looks at itself.
        if self.follows() {
            return;
        }
        let Some(entry) = self.sites.get(&key) else { return };
        if entry.core.is_gone() || !entry.core.candidates().iter().any(|c| c.backend == backend) {
            return self.schedule.forget(&(key, backend));
        }
        let health = &entry.config.health;
        let urgent = entry.core.is_urgent(&backend);
        let pinned = entry.core.pin().is_some_and(|pin| pin.backend == backend);
        let (class, interval) = match (urgent, pinned) {
            (true, _) => (urgency(entry, &backend), pace(entry)),
            (false, true) => (Class::Steady, health.interval),
            (false, false) => (Class::Standby, health.interval * STANDBY_FACTOR),
        };
        let interval = if at_once || urgent && *entry.core.phase() == Phase::Serving {
            Duration::ZERO
        } else {
            interval
        };
        let spread =
            if class.is_waited_for() { Duration::ZERO } else { interval.mul_f64(self.next_jitter() * 0.1) };
        self.schedule.plan((key, backend), class, Instant::now() + interval - spread);
    }

    /// Between 0 and 1; a sequence that the seed determines.
    pub(super) fn next_jitter(&mut self) -> f64 {
        // SplitMix64: small, and good enough to keep probes apart.
        self.jitter = self.jitter.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.jitter;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) as f64 / u64::MAX as f64
    }

    /// Has the candidates probed at once that a verdict is waited for.
    pub(super) fn expedite(&mut self, key: SiteKey) {
        if self.follows() {
            return;
        }
        let Some(entry) = self.sites.get(&key) else { return };
        if *entry.core.phase() == Phase::Serving {
            return;
        }
        let now = Instant::now();
        let soon = now + pace(entry);
        let is_fencing = matches!(entry.core.phase(), Phase::Fencing { .. });
        let candidates = entry.core.candidates().iter().map(|candidate| &candidate.backend);
        for backend in candidates.filter(|backend| entry.core.is_urgent(backend)) {
            // One that was looked at a moment ago has its turn an interval later.
            let fresh = entry
                .last_probes
                .of(backend)
                .is_some_and(|last| last.at + entry.config.health.held_interval > now);
            let (class, due) = (urgency(entry, backend), if fresh || is_fencing { soon } else { now });
            self.schedule.hasten((key, backend.clone()), class, due);
        }
    }

    /// Whatever ended this site's backend may have ended others at the same address: a worker machine that died.
    pub(super) fn suspect_neighbours(&mut self, key: SiteKey) {
        let pinned = self.sites.get(&key).and_then(|entry| entry.core.pin());
        let Some(address) = pinned.and_then(|pin| pin.backend.machine()) else { return };
        let now = Instant::now();
        if !is_time(&mut self.neighbours_suspected, address, now) {
            return;
        }
        for (other, entry) in &self.sites {
            if *other != key
                && *entry.core.phase() == Phase::Serving
                && let Some(pin) = entry.core.pin().filter(|pin| pin.backend.machine() == Some(address))
            {
                let class = if entry.gate.in_flight() > 0 { Class::Readers } else { Class::Urgent };
                self.schedule.plan((*other, pin.backend.clone()), class, now);
            }
        }
    }

    /// Where one has come up others may have: those at its address that a site waits for are looked at before those that
    /// are more likely to be down still.
    fn hurry_neighbours(&mut self, key: SiteKey, backend: &Backend) {
        let Some(address) = backend.machine() else { return };
        let now = Instant::now();
        if !is_time(&mut self.neighbours_hurried, address, now) {
            return;
        }
        let shut = self.troubles.shut().filter(|other| *other != key);
        for (other, entry) in shut.filter_map(|other| Some((other, self.sites.get(&other)?))) {
            for candidate in entry.core.candidates() {
                let is_there = candidate.backend.machine() == Some(address);
                if is_there && !candidate.health.is_well() && entry.core.is_urgent(&candidate.backend) {
                    self.schedule.plan((other, candidate.backend.clone()), Class::Risen, now);
                }
            }
        }
    }

    pub(super) fn start_probes(&mut self, now: Instant) {
        for (target, class) in self.schedule.due(now) {
            let (key, backend) = &target;
            let Some(entry) = self.sites.get(key) else {
                self.schedule.forget(&target);
                continue;
            };
            let is_known = entry.last_probes.of(backend).is_some();
            if is_known && matches!(entry.core.phase(), Phase::Proving { .. }) {
                // The proof is what is waited for; what is known already has its turn when that is over.
                self.schedule.done(&target);
                let (key, backend) = target;
                self.plan_next(key, backend, false);
                continue;
            }
            let recently = entry.config.health.interval / 2;
            // Where a doubt is to be cleared up, what was answered before it says nothing.
            let is_doubted = entry.core.is_urgent(backend) || self.is_of_interest(entry);
            if !is_doubted && self.is_proved_by_traffic(entry, backend, recently) {
                let (seen, took, proves) = (Seen::Well, Duration::ZERO, None);
                let _ = self.messages.send(Message::Probed { target, seen, took, proves });
                continue;
            }
            self.counts.probes += 1;
            let (messages, outside) = (self.messages.clone(), self.outside.clone());
            let (config, proves, target) =
                (entry.config.clone(), proves(entry, backend, class), target.clone());
            tokio::task::spawn_local(async move {
                let (began, way) = (Instant::now(), Way::To(target.1.clone()));
                let question = if proves.is_some() { Question::Proof } else { Question::Liveness };
                let mut seen = outside.ask(&way, &config, question).await;
                let says_all = matches!(seen, Seen::Well | Seen::Refused | Seen::NotAsked(_));
                if question == Question::Proof && !says_all {
                    // That it proves nothing does not mean that it isn't there.
                    seen = outside.ask(&way, &config, Question::Liveness).await;
                }
                let proves = proves.filter(|_| says_all);
                let _ = messages.send(Message::Probed { target, seen, took: began.elapsed(), proves });
            });
        }
    }

    /// Real answers have proved, within this time, what a probe would.
    pub(super) fn is_proved_by_traffic(
        &self,
        entry: &SiteEntry,
        backend: &Backend,
        within: Duration,
    ) -> bool {
        let last = entry.gate.last_well();
        *entry.core.phase() == Phase::Serving
            && entry.core.pin().is_some_and(|pin| pin.backend == *backend)
            && last != 0
            && !self.clock.now().is_past(crate::clock::Tick(last), within)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_looked_at_each_second_however_often_there_is_reason_to() {
        let (mut looked, start) = (HashMap::new(), Instant::now());
        let at = |ms| start + Duration::from_millis(ms);
        let address = "10.0.0.5".parse().unwrap();
        let times = (0..=2_500).step_by(100).filter(|&ms| is_time(&mut looked, address, at(ms)));
        assert_eq!(times.collect::<Vec<_>>(), [0, 1_000, 2_000]);
    }
}
