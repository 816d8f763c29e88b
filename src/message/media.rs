//! Images, audio, videos, documents and stickers.
//!
//! Each is named by the id of an upload to the sender's number, or by a link that WhatsApp fetches. WhatsApp keeps what it fetched for
//! ten minutes by its exact link; at a high rate an id is better (Meta, "Throughput"; Meta, "Media").

use serde::{Deserialize, Serialize};

use super::Fields;

/// A file: exactly one of `id` and `link`, as its two makers see to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Media {
    /// What an upload answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Where WhatsApp fetches it, over HTTP or HTTPS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// What is not known.
    #[serde(flatten)]
    pub other: Fields,
}

impl Media {
    /// An uploaded file, by the id that the upload answered.
    pub fn id(id: impl Into<String>) -> Self {
        Self {
            id: Some(id.into()),
            link: None,
            other: Fields::new(),
        }
    }

    /// A file that WhatsApp fetches.
    pub fn link(link: impl Into<String>) -> Self {
        Self {
            id: None,
            link: Some(link.into()),
            other: Fields::new(),
        }
    }
}

/// An image: JPEG or PNG, at most 5 MB; caption at most 1024 characters (Meta, "Image messages").
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Image {
    /// What stands below it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caption: Option<String>,
    /// The file; holds what is not known.
    #[serde(flatten)]
    pub media: Media,
}

/// An audio file: AAC, AMR, MP3, MP4 or OGG with OPUS, at most 16 MB (Meta, "Audio messages").
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Audio {
    /// Whether it is a voice note, which can be `played`; OGG with OPUS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub voice: Option<bool>,
    /// The file; holds what is not known.
    #[serde(flatten)]
    pub media: Media,
}

/// A video: MP4 or 3GP, at most 16 MB; caption at most 1024 characters (Meta, "Video messages").
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Video {
    /// What stands below it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caption: Option<String>,
    /// The file; holds what is not known.
    #[serde(flatten)]
    pub media: Media,
}

/// A document: at most 100 MB; caption at most 1024 characters (Meta, "Document messages").
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Document {
    /// What stands below it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caption: Option<String>,
    /// The name it is shown and saved by; its ending decides the icon.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filename: Option<String>,
    /// The file; holds what is not known.
    #[serde(flatten)]
    pub media: Media,
}

/// A sticker: WebP of 512 × 512 pixels, at most 100 KB, animated 500 KB (Meta, "Sticker messages").
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sticker {
    /// The file; holds what is not known.
    #[serde(flatten)]
    pub media: Media,
}

/// An image.
///
/// ```
/// use serde_json::json;
/// use wa_outbox::message::{self, Media};
///
/// let image = message::image(Media::link("https://example.com/17.jpg")).caption("Packed for you");
/// assert_eq!(
///     serde_json::to_value(&image)?,
///     json!({"link": "https://example.com/17.jpg", "caption": "Packed for you"})
/// );
/// let invoice = message::document(Media::id("1602186516975000")).filename("invoice.pdf");
/// assert_eq!(
///     serde_json::to_value(&invoice)?,
///     json!({"id": "1602186516975000", "filename": "invoice.pdf"})
/// );
/// # Ok::<(), serde_json::Error>(())
/// ```
pub fn image(media: Media) -> Image {
    Image {
        caption: None,
        media,
    }
}

/// An audio file, or with [`Audio::voice`] a voice note.
pub fn audio(media: Media) -> Audio {
    Audio { voice: None, media }
}

/// A video.
pub fn video(media: Media) -> Video {
    Video {
        caption: None,
        media,
    }
}

/// A document.
pub fn document(media: Media) -> Document {
    Document {
        caption: None,
        filename: None,
        media,
    }
}

/// A sticker.
pub fn sticker(media: Media) -> Sticker {
    Sticker { media }
}

impl Image {
    /// With words below it.
    pub fn caption(mut self, caption: impl Into<String>) -> Self {
        self.caption = Some(caption.into());
        self
    }
}

impl Audio {
    /// As a voice note.
    pub fn voice(mut self) -> Self {
        self.voice = Some(true);
        self
    }
}

impl Video {
    /// With words below it.
    pub fn caption(mut self, caption: impl Into<String>) -> Self {
        self.caption = Some(caption.into());
        self
    }
}

impl Document {
    /// With words below it.
    pub fn caption(mut self, caption: impl Into<String>) -> Self {
        self.caption = Some(caption.into());
        self
    }

    /// By this name.
    pub fn filename(mut self, filename: impl Into<String>) -> Self {
        self.filename = Some(filename.into());
        self
    }
}
