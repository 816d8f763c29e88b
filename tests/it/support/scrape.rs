//! What Prometheus would read of a world's service.

use super::callbacks::{Answer, get};
use super::world::World;

/// One scrape, as text.
#[derive(Debug)]
pub(crate) struct Scrape(pub(crate) String);

impl World {
    /// Where the running service answers operators.
    pub(crate) fn admin_url(&self, path: &str) -> String {
        let service = self.service.as_ref().expect("a running service");
        let address = service.admin_address.expect("it answers operators");
        format!("http://{address}{path}")
    }

    /// Reads the metrics of the running service.
    pub(crate) async fn scrape(&self) -> Scrape {
        let Answer { status, body } = get(self.admin_url("/metrics")).await;
        assert_eq!(status, 200);
        Scrape(body)
    }

    /// Waits until a metric has this value.
    pub(crate) async fn until_metric_is(&self, series: &str, value: f64) {
        self.until_true(&format!("{series} is {value}"), async || {
            self.scrape().await.of(series) == Some(value)
        })
        .await;
    }
}

impl Scrape {
    /// The value of a series, which is written as it is scraped: `name{label="value"}`.
    pub(crate) fn of(&self, series: &str) -> Option<f64> {
        self.0.lines().find_map(|line| {
            let (name, value) = line.rsplit_once(' ')?;
            (name == series).then(|| value.parse().expect("a number"))
        })
    }

    /// The names of all series that there are or may be, as queries write them.
    pub(crate) fn names(&self) -> Vec<String> {
        let types = self.0.lines().filter_map(|line| {
            let mut words = line.strip_prefix("# TYPE ")?.split(' ');
            Some((words.next()?, words.next()?))
        });
        types
            .flat_map(|(name, kind)| {
                let endings: &[&str] = match kind {
                    "counter" => &["_total"],
                    "histogram" => &["_bucket", "_sum", "_count"],
                    "info" => &["_info"],
                    _ => &[""],
                };
                endings.iter().map(move |ending| format!("{name}{ending}"))
            })
            .collect()
    }
}
