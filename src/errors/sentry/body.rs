//! Reading a request's body and unpacking it, within bounds that hold before, while and after.

use std::{
    io::Read,
    sync::{Arc, LazyLock},
};

use axum::body::{Body, HttpBody};
use http::{HeaderMap, StatusCode, header};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::refusal::Refusal;

/// Largest body as it is sent, and as it is unpacked, in bytes.
pub(super) const MAX_BODY: usize = 20 << 20;
/// A body that unpacks to more is unpacked away from the threads that serve, in bytes.
const IN_PLACE: usize = 512 << 10;
/// A body up to this size needs no share of [`ROOM`], in bytes.
const SMALL: usize = 64 << 10;
/// What larger bodies of all requests may hold together, in KiB, packed and unpacked.
const ROOM_KIB: usize = 96 << 10;
/// The largest window that a zstd frame may ask for (2^23 = 8 MiB).
const ZSTD_WINDOW: u32 = 23;
/// Bodies that are unpacked at once away from the threads that serve.
const UNPACKERS: usize = 2;

static ROOM: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(ROOM_KIB)));
static UNPACKING: Semaphore = Semaphore::const_new(UNPACKERS);

/// A share of the memory that is set aside for large bodies.
#[derive(Debug, Default)]
pub(super) struct Share(Option<OwnedSemaphorePermit>);

impl Share {
    /// Grows to `bytes`.
    fn grow(&mut self, bytes: usize) -> Result<(), Refusal> {
        if bytes <= SMALL {
            return Ok(());
        }
        let held = self.0.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let missing = bytes.div_ceil(1024).saturating_sub(held);
        if missing == 0 {
            return Ok(());
        }
        let missing = u32::try_from(missing).unwrap_or(u32::MAX);
        let more = Arc::clone(&ROOM).try_acquire_many_owned(missing).map_err(|_| {
            Refusal::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "too many large bodies at once; send it again",
            )
            .retry_after(5)
        })?;
        match &mut self.0 {
            Some(held) => held.merge(more),
            none => *none = Some(more),
        }
        Ok(())
    }
}

/// How a body is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    Plain,
    Gzip,
    Deflate,
    Brotli,
    Zstd,
}

impl Coding {
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Refusal> {
        let refused = |why: String| Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, why));
        let mut found = Self::Plain;
        let values = headers.get_all(header::CONTENT_ENCODING).iter();
        for name in values.flat_map(|value| value.to_str().unwrap_or("?").split(',')) {
            let next = match name.trim().to_ascii_lowercase().as_str() {
                "" | "identity" => continue,
                "gzip" | "x-gzip" => Self::Gzip,
                "deflate" => Self::Deflate,
                "br" => Self::Brotli,
                "zstd" => Self::Zstd,
                _ => {
                    return refused(
                        "the Content-Encoding is none of gzip, deflate, br, zstd and identity"
                            .to_owned(),
                    );
                }
            };
            if found != Self::Plain {
                return refused("the body is packed more than once; pack it once".to_owned());
            }
            found = next;
        }
        Ok(found)
    }
}

/// The whole body as it was sent.
pub(super) async fn read(mut body: Body, share: &mut Share) -> Result<Vec<u8>, Refusal> {
    let told = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if told > MAX_BODY {
        return Err(too_large());
    }
    share.grow(told)?;
    // What a length in the head promises may never come.
    let mut whole = Vec::with_capacity(told.min(SMALL));
    while let Some(frame) =
        std::future::poll_fn(|cx| std::pin::Pin::new(&mut body).poll_frame(cx)).await
    {
        let frame = frame
            .map_err(|_| Refusal::new(StatusCode::BAD_REQUEST, "the body did not arrive whole"))?;
        let Ok(data) = frame.into_data() else { continue };
        if whole.len() + data.len() > MAX_BODY {
            return Err(too_large());
        }
        share.grow(whole.len() + data.len())?;
        whole.extend_from_slice(&data);
    }
    Ok(whole)
}

/// Unpacked bytes, and what is wrong with what should have followed them.
pub(super) type Unpacked = (Vec<u8>, Option<&'static str>);

/// Unpacks a body.
pub(super) async fn unpack(
    packed: Vec<u8>,
    coding: Coding,
    share: &mut Share,
) -> Result<Unpacked, Refusal> {
    if coding == Coding::Plain {
        return Ok((packed, None));
    }
    if let Ok(unpacked) = unpack_to(&packed, coding, IN_PLACE) {
        return Ok(unpacked);
    }
    share.grow(packed.len() + MAX_BODY)?;
    let _turn = UNPACKING.acquire().await;
    let unpacking = tokio::task::spawn_blocking(move || unpack_to(&packed, coding, MAX_BODY)).await;
    match unpacking {
        Ok(Ok(unpacked)) => Ok(unpacked),
        Ok(Err(Bomb)) => Err(too_large()),
        Err(_) => Err(Refusal::new(StatusCode::BAD_REQUEST, BROKEN)),
    }
}

const BROKEN: &str = "the body is not packed as its Content-Encoding says, or it is cut off";

fn too_large() -> Refusal {
    let mib = MAX_BODY >> 20;
    let why = format!("the body has more than {mib} MiB, packed or unpacked; send less at once");
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, why)
}

/// It unpacks to more than is wanted.
struct Bomb;

fn unpack_to(packed: &[u8], coding: Coding, most: usize) -> Result<Unpacked, Bomb> {
    let limit = most as u64 + 1;
    let mut whole = Vec::with_capacity((packed.len() * 4).min(most));
    let outcome = match coding {
        Coding::Plain => (&mut &*packed).take(limit).read_to_end(&mut whole),
        Coding::Gzip => {
            flate2::bufread::MultiGzDecoder::new(packed).take(limit).read_to_end(&mut whole)
        }
        Coding::Deflate if is_zlib(packed) => {
            flate2::bufread::ZlibDecoder::new(packed).take(limit).read_to_end(&mut whole)
        }
        Coding::Deflate => {
            flate2::bufread::DeflateDecoder::new(packed).take(limit).read_to_end(&mut whole)
        }
        Coding::Brotli => {
            let decoder = brotli_decompressor::Decompressor::new(packed, 4096);
            decoder.take(limit).read_to_end(&mut whole)
        }
        Coding::Zstd => zstd::stream::read::Decoder::with_buffer(packed).and_then(|mut decoder| {
            decoder.window_log_max(ZSTD_WINDOW)?;
            decoder.take(limit).read_to_end(&mut whole)
        }),
    };
    if whole.len() > most {
        return Err(Bomb);
    }
    Ok((whole, outcome.err().map(|_| BROKEN)))
}

/// "deflate" means zlib's form, and some send it without: the first two bytes tell.
fn is_zlib(packed: &[u8]) -> bool {
    match packed {
        [first, second, ..] => {
            first & 15 == 8 && (u16::from(*first) << 8 | u16::from(*second)).is_multiple_of(31)
        }
        _ => false,
    }
}
