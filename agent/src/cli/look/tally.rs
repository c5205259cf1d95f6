//! What was seen in all pictures together, in words.

use std::collections::BTreeMap;

use temoin_proto::{
    perception::{NotSeen, Observation, PrivateKind, Seen, Sight},
    samples::CameraId,
    time::MonoTime,
};

/// How often one thing was seen, and why not.
#[derive(Default)]
struct Count {
    seen: u32,
    values: BTreeMap<String, u32>,
    not: BTreeMap<String, u32>,
}

impl Count {
    fn add<T>(&mut self, seen: &Seen<T>, name: impl Fn(&T) -> Option<String>) {
        match seen {
            Seen::Known { value, .. } => {
                self.seen += 1;
                if let Some(name) = name(value) {
                    *self.values.entry(name).or_default() += 1;
                }
            }
            Seen::Unknown(why) => *self.not.entry(reason(*why)).or_default() += 1,
        }
    }
}

/// Counts over all pictures.
pub(super) struct Tally {
    camera: CameraId,
    pictures: u32,
    span: Option<(MonoTime, MonoTime)>,
    things: Vec<(&'static str, Count)>,
    most_others: BTreeMap<PrivateKind, usize>,
}

impl Tally {
    pub(super) const fn new(camera: CameraId) -> Self {
        Self { camera, pictures: 0, span: None, things: Vec::new(), most_others: BTreeMap::new() }
    }

    fn count<T>(
        &mut self,
        thing: &'static str,
        seen: &Seen<T>,
        name: impl Fn(&T) -> Option<String>,
    ) {
        if !self.things.iter().any(|(t, _)| *t == thing) {
            self.things.push((thing, Count::default()));
        }
        if let Some((_, count)) = self.things.iter_mut().find(|(t, _)| *t == thing) {
            count.add(seen, name);
        }
    }

    pub(super) fn add(&mut self, sight: &Sight) {
        self.pictures += 1;
        let at = sight.at();
        self.span = Some(self.span.map_or((at, at), |(first, _)| (first, at)));
        match &sight.observation {
            Observation::Driver(d) => {
                self.count("face", &d.face, |_| None);
                self.count("head pose", &d.head, |_| None);
                self.count("eyelids", &d.eyelids, |_| None);
                self.count("right eye", &d.eyes.right, |_| None);
                self.count("left eye", &d.eyes.left, |_| None);
                self.count("direction of the eyes", &d.gaze, |_| None);
                self.count("mouth", &d.mouth, |_| None);
                self.count("phone", &d.phone, |p| Some(super::lines::phone(*p).to_owned()));
                self.count("cover of the face", &d.cover, |c| {
                    Some(super::lines::cover(*c).to_owned())
                });
            }
            Observation::Road(r) => {
                self.count("vehicle ahead", &r.lead, |lead| {
                    Some(if lead.is_some() { "there" } else { "none" }.to_owned())
                });
                self.count("own lane", &r.lane, |_| None);
            }
        }
        match &sight.others {
            Ok(others) => {
                for kind in [PrivateKind::Face, PrivateKind::Plate] {
                    let here = others.iter().filter(|o| o.kind == kind).count();
                    let most = self.most_others.entry(kind).or_default();
                    *most = here.max(*most);
                }
                self.count("others", &Seen::Known { value: (), confidence: 1.0 }, |()| None);
            }
            Err(why) => self.count("others", &Seen::<()>::Unknown(*why), |()| None),
        }
    }

    /// One line for each thing.
    pub(super) fn words(&self) -> Vec<String> {
        let length_s = self.span.map_or(0.0, |(first, last)| last.secs_from(first));
        let camera = self.camera.as_str();
        let mut out =
            vec![format!("{} pictures of the {camera} camera, {length_s:.1} s", self.pictures)];
        for (thing, count) in &self.things {
            let share = 100.0 * f64::from(count.seen) / f64::from(self.pictures.max(1));
            let mut line = format!("{thing}: seen in {} ({share:.0} %)", count.seen);
            if !count.values.is_empty() {
                line.push_str(&format!(": {}", listed(&count.values)));
            }
            if !count.not.is_empty() {
                line.push_str(&format!("; not seen: {}", listed(&count.not)));
            }
            out.push(line);
        }
        let most = |kind| self.most_others.get(&kind).copied().unwrap_or(0);
        let (faces, plates) = (most(PrivateKind::Face), most(PrivateKind::Plate));
        if faces + plates > 0 {
            out.push(format!("at most {faces} faces and {plates} plates of others in a picture"));
        }
        out
    }
}

/// The most frequent first.
fn listed(counts: &BTreeMap<String, u32>) -> String {
    let mut all: Vec<_> = counts.iter().collect();
    all.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
    all.iter().map(|(name, n)| format!("{name} {n}")).collect::<Vec<_>>().join(", ")
}

/// A reason in words.
pub(super) fn reason(why: NotSeen) -> String {
    super::lines::reason(why).replace('_', " ")
}
