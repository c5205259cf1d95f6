//! Puts ways together to a limits file: profiles each once, pieces by tile.
//!
//! INVARIANT: the same ways in the same order give the same bytes.

use std::collections::BTreeMap;

use super::{
    cut::{self, Node},
    format::{self, About, LimitsError},
    grid::{Point, TileKey},
    road::Profile,
    tile,
};

#[derive(Clone, Debug, Default)]
struct Growing {
    last_way: i64,
    bytes: Vec<u8>,
}

/// A file that grows. In RAM: what is written, and a few bytes a tile.
#[derive(Clone, Debug, Default)]
pub struct Builder {
    profiles: BTreeMap<Profile, u32>,
    tiles: BTreeMap<TileKey, Growing>,
    road_m: f64,
}

impl Builder {
    /// Adds a way, its nodes in its own order.
    pub fn way(&mut self, way: i64, profile: &Profile, nodes: &[Node]) {
        // A line across half the world is a mistake; one across the date line would be drawn as one.
        let torn = nodes.windows(2).any(|w| match w {
            [a, b] => !near(a.at, b.at),
            _ => false,
        });
        if torn {
            return;
        }
        let count = u32::try_from(self.profiles.len()).unwrap_or(u32::MAX);
        let number = match self.profiles.get(profile) {
            Some(number) => *number,
            None => *self.profiles.entry(profile.clone()).or_insert(count),
        };
        let (length_m, pieces) = cut::pieces(way, number, nodes);
        self.road_m += length_m;
        for (key, piece) in pieces {
            let tile = self.tiles.entry(key).or_default();
            tile::put(&mut tile.bytes, key, tile.last_way, &piece);
            tile.last_way = way;
        }
    }

    /// Metres of road so far.
    pub const fn road_m(&self) -> f64 {
        self.road_m
    }

    /// Hands the whole file, part by part, to `write`.
    ///
    /// # Errors
    /// Where there are too many roads for one file, or what `write` says.
    pub fn finish<E: From<LimitsError>>(
        self,
        about: About,
        mut write: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut profiles: Vec<(&Profile, u32)> =
            self.profiles.iter().map(|(p, n)| (p, *n)).collect();
        profiles.sort_by_key(|(_, n)| *n);
        let profiles: Vec<Profile> = profiles.into_iter().map(|(p, _)| p.clone()).collect();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a sum of lengths; saturates"
        )]
        let road_m = self.road_m.round() as u64;
        let about = About { road_m, ..about };
        let tiles = || self.tiles.iter().map(|(key, t)| (*key, t.bytes.as_slice()));
        write(&format::head(&about, &profiles, tiles())?)?;
        for (_, bytes) in tiles() {
            write(bytes)?;
        }
        Ok(())
    }

    /// The whole file in memory.
    ///
    /// # Errors
    /// Where there are too many roads for one file.
    pub fn to_bytes(self, about: About) -> Result<Vec<u8>, LimitsError> {
        let mut bytes = Vec::new();
        self.finish::<LimitsError>(about, |part| {
            bytes.extend_from_slice(part);
            Ok(())
        })?;
        Ok(bytes)
    }
}

/// Within some 55 km: no straight road is longer.
fn near(a: Point, b: Point) -> bool {
    a.x.abs_diff(b.x) < 100_000 && a.y.abs_diff(b.y) < 100_000
}
