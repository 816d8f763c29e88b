//! The files of the dashboard, inside the program.

use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};

const FILES: [(&str, &str, &str); 5] = [
    (
        "style.css",
        "text/css; charset=utf-8",
        include_str!("assets/style.css"),
    ),
    (
        "app.js",
        "text/javascript; charset=utf-8",
        include_str!("assets/app.js"),
    ),
    (
        "theme.js",
        "text/javascript; charset=utf-8",
        include_str!("assets/theme.js"),
    ),
    // Idiomorph 0.8.0, Zero-Clause BSD: brings a part of a page up to date and leaves alone what has not changed in it, so that
    // neither the keyboard's place nor a selection is lost.
    (
        "idiomorph.js",
        "text/javascript; charset=utf-8",
        include_str!("assets/idiomorph.min.js"),
    ),
    ("icon.svg", "image/svg+xml", include_str!("assets/icon.svg")),
];

pub(super) async fn asset(Path(name): Path<String>) -> Response {
    match FILES.iter().find(|(known, ..)| *known == name) {
        Some((_, kind, text)) => (
            [
                (header::CONTENT_TYPE, *kind),
                (header::CACHE_CONTROL, "max-age=300"),
            ],
            *text,
        )
            .into_response(),
        None => not_there(),
    }
}

pub(super) fn not_there() -> Response {
    (StatusCode::NOT_FOUND, "there is no such file\n").into_response()
}
