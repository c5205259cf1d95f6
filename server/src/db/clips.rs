//! Clips: their signed manifests, whether they are complete, and their wrapped keys.

use bytes::Bytes;
use sqlx::Row;
use temoin_proto::{
    ids::{ClipId, UnitId},
    manifest::{Manifest, ManifestError, WrappedKey},
    sealed::TrackName,
    wire::SignedManifest,
};

use super::{Db, DbError, parsed, signed};

/// A clip as stored.
#[derive(Debug, Clone)]
pub struct StoredClip {
    /// The unit that recorded it.
    pub unit: UnitId,
    /// Its manifest as it was signed.
    pub signed: SignedManifest,
    /// The unit's key that verified it when it came.
    pub signing_public_key: Vec<u8>,
    /// Whether all of it is here, verified and durable.
    pub complete: bool,
}

/// What one camera's pictures of a clip look like in outline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredFingerprint {
    /// The clip.
    pub clip: ClipId,
    /// The camera's track.
    pub track: TrackName,
    /// As [`temoin_media::watermark::fingerprint`] has it.
    pub bytes: Vec<u8>,
}

impl StoredClip {
    /// The manifest, its signature checked again: what the database holds is not trusted.
    ///
    /// # Errors
    /// [`ManifestError`].
    pub fn manifest(&self) -> Result<Manifest, ManifestError> {
        Manifest::verify(&self.signed, &self.signing_public_key)
    }
}

impl Db {
    /// Registers a clip with its verified manifest, its wrapped key and its fingerprints. A known clip
    /// stays.
    ///
    /// # Errors
    /// [`DbError::Sql`].
    pub async fn begin_clip(
        &self,
        manifest: &Manifest,
        original: &SignedManifest,
        signing_public_key: &[u8],
        fingerprints: &[(TrackName, Bytes)],
        now_ms: i64,
    ) -> Result<(), DbError> {
        let mut tx = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        let inserted = sqlx::query(
            "INSERT INTO clips
             (id, event, unit, manifest, signature, signing_public_key, duration_ms, begun_at)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
        )
        .bind(manifest.clip.to_string())
        .bind(manifest.event.to_string())
        .bind(manifest.unit.as_str())
        .bind(original.manifest.as_ref())
        .bind(original.signature.as_ref())
        .bind(signing_public_key)
        .bind(signed(manifest.duration_ms))
        .bind(now_ms)
        .execute(&mut *tx)
        .await?;
        if inserted.rows_affected() == 1 {
            sqlx::query(
                "INSERT INTO wrapped_keys (clip, key_id, encapsulated, ciphertext) VALUES (?, ?, ?, ?)",
            )
            .bind(manifest.clip.to_string())
            .bind(&manifest.wrapped_key.key_id)
            .bind(&manifest.wrapped_key.encapsulated)
            .bind(&manifest.wrapped_key.ciphertext)
            .execute(&mut *tx)
            .await?;
            for (track, bytes) in fingerprints {
                sqlx::query("INSERT INTO fingerprints (clip, track, bytes) VALUES (?, ?, ?)")
                    .bind(manifest.clip.to_string())
                    .bind(track.as_str())
                    .bind(bytes.as_ref())
                    .execute(&mut *tx)
                    .await?;
            }
        }
        tx.commit().await?;
        Ok(())
    }

    /// At most `limit` fingerprints of complete clips, or of this one only, those behind `after` in the
    /// order of clips and tracks.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn fingerprints(
        &self,
        of: Option<ClipId>,
        after: Option<(ClipId, TrackName)>,
        limit: u32,
    ) -> Result<Vec<StoredFingerprint>, DbError> {
        let (clip, track) = after.unzip();
        let rows = sqlx::query(
            "SELECT f.clip, f.track, f.bytes FROM fingerprints f JOIN clips c ON c.id = f.clip
             WHERE c.complete_at IS NOT NULL AND (f.clip, f.track) > (?1, ?2)
               AND (?4 IS NULL OR f.clip = ?4)
             ORDER BY f.clip, f.track LIMIT ?3",
        )
        .bind(clip.map(|clip| clip.to_string()).unwrap_or_default())
        .bind(track.map_or("", TrackName::as_str))
        .bind(i64::from(limit))
        .bind(of.map(|clip| clip.to_string()))
        .fetch_all(&self.pool)
        .await?;
        rows.iter()
            .map(|row| {
                let track: String = row.try_get("track")?;
                let name = TrackName::from_name(&track);
                let track = name.ok_or(DbError::Content { column: "track", value: track })?;
                Ok(StoredFingerprint {
                    clip: parsed(row, "clip")?,
                    track,
                    bytes: row.try_get("bytes")?,
                })
            })
            .collect()
    }

    /// The clip with this id.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn clip(&self, id: ClipId) -> Result<Option<StoredClip>, DbError> {
        let row = sqlx::query("SELECT * FROM clips WHERE id = ?")
            .bind(id.to_string())
            .fetch_optional(&self.pool)
            .await?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(StoredClip {
            unit: parsed(&row, "unit")?,
            signed: SignedManifest {
                manifest: row.try_get::<Vec<u8>, _>("manifest")?.into(),
                signature: row.try_get::<Vec<u8>, _>("signature")?.into(),
            },
            signing_public_key: row.try_get("signing_public_key")?,
            complete: row.try_get::<Option<i64>, _>("complete_at")?.is_some(),
        }))
    }

    /// Makes a clip visible. Its objects must be durable before. False where it was already.
    ///
    /// # Errors
    /// [`DbError::Sql`].
    pub async fn complete_clip(&self, id: ClipId, now_ms: i64) -> Result<bool, DbError> {
        let changed =
            sqlx::query("UPDATE clips SET complete_at = ? WHERE id = ? AND complete_at IS NULL")
                .bind(now_ms)
                .bind(id.to_string())
                .execute(&self.pool)
                .await?;
        Ok(changed.rows_affected() == 1)
    }

    /// The wrapped key of a clip. Useless without [`crate::keys::Keys::unwrap`].
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn wrapped_key(&self, clip: ClipId) -> Result<Option<WrappedKey>, DbError> {
        let row = sqlx::query("SELECT * FROM wrapped_keys WHERE clip = ?")
            .bind(clip.to_string())
            .fetch_optional(&self.pool)
            .await?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(WrappedKey {
            key_id: row.try_get("key_id")?,
            encapsulated: row.try_get("encapsulated")?,
            ciphertext: row.try_get("ciphertext")?,
        }))
    }
}
