//! One service of a Compose file, and what each of its keys is to a job.

use super::value::{Literal, Size, Variables, Words};
use crate::{
    command::{Command, CommandText},
    file::{InputFile, ResourcesFile, RetryFile},
    gpu::{GpuNeed, GpuText},
    image::ImageSource,
    job::RetryOn,
    names::EnvName,
    path::ContainerPath,
    text::{Text, cut, given},
};
use gpux_types::Cpu;
use serde::{Deserialize, Deserializer, de, de::IgnoredAny};
use serde_saphyr::{Location, Spanned};
use std::{collections::BTreeMap, fmt, str::FromStr};

/// A service. Keys that say nothing of what its program does or may use are read and left: how its image is built, what it is called,
/// how it is looked after at home.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ServiceFile {
    image: Text<PlainImage>,
    #[serde(default, deserialize_with = "given")]
    command: Option<Spanned<Words>>,
    #[serde(default, deserialize_with = "given")]
    entrypoint: Option<Words>,
    #[serde(default)]
    environment: Variables,
    #[serde(default)]
    pub(super) volumes: Vec<Spanned<Volume>>,
    #[serde(default)]
    deploy: DeployFile,
    #[serde(default, deserialize_with = "given")]
    cpus: Option<Text<Cpu>>,
    #[serde(default, deserialize_with = "given")]
    mem_limit: Option<Text<Size>>,
    #[serde(default, deserialize_with = "given")]
    mem_reservation: Option<Text<Size>>,
    #[serde(default, deserialize_with = "given")]
    gpus: Option<Devices>,
    #[serde(default, deserialize_with = "given")]
    restart: Option<Text<Restart>>,
    #[serde(default, rename = "annotations")]
    _annotations: IgnoredAny,
    #[serde(default, rename = "build")]
    _build: IgnoredAny,
    #[serde(default, rename = "container_name")]
    _container_name: IgnoredAny,
    #[serde(default, rename = "develop")]
    _develop: IgnoredAny,
    #[serde(default, rename = "expose")]
    _expose: IgnoredAny,
    #[serde(default, rename = "healthcheck")]
    _healthcheck: IgnoredAny,
    #[serde(default, rename = "labels")]
    _labels: IgnoredAny,
    #[serde(default, rename = "logging")]
    _logging: IgnoredAny,
    #[serde(default, rename = "profiles")]
    _profiles: IgnoredAny,
    #[serde(default, rename = "pull_policy")]
    _pull_policy: IgnoredAny,
}

/// An image whose name has no variables.
struct PlainImage(ImageSource);

impl FromStr for PlainImage {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = Literal::from_str(text).map_err(|error| error.to_string())?;
        text.0
            .parse()
            .map(Self)
            .map_err(|error: crate::ParseImageError| error.to_string())
    }
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct DeployFile {
    resources: DeployResources,
    #[serde(rename = "labels")]
    _labels: IgnoredAny,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct DeployResources {
    limits: Share,
    reservations: Share,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Share {
    #[serde(deserialize_with = "given")]
    cpus: Option<Text<Cpu>>,
    #[serde(deserialize_with = "given")]
    memory: Option<Text<Size>>,
    #[serde(deserialize_with = "given")]
    devices: Option<Devices>,
}

/// GPUs, as a list of devices; `all` of them says nothing to a market.
struct Devices(GpuText);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DeviceFile {
    #[serde(default, rename = "driver")]
    _driver: IgnoredAny,
    count: Text<String>,
    #[serde(default)]
    capabilities: Vec<Text<String>>,
}

impl<'de> Deserialize<'de> for Devices {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Devices;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list with one device, such as [{ count: 1, capabilities: [gpu] }]")
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut items: A) -> Result<Devices, A::Error> {
                let wrong = || {
                    de::Error::custom("devices: GPUs are written as one device, [{ count: 1, capabilities: [gpu] }]")
                };
                let device: DeviceFile = items.next_element()?.ok_or_else(wrong)?;
                let other = device.capabilities.iter().any(|capability| capability.0 != "gpu");
                if other || items.next_element::<IgnoredAny>()?.is_some() {
                    return Err(wrong());
                }
                let counted = device.count.0.chars().all(|c| c.is_ascii_digit());
                let need = device.count.0.parse::<GpuNeed>().ok().filter(|_| counted);
                let uncounted = || {
                    de::Error::custom(format!(
                        "count {:?}: write how many GPUs each node must give",
                        cut(&device.count.0)
                    ))
                };
                need.map(|need| Devices(GpuText(need))).ok_or_else(uncounted)
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

/// What is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Restart {
    Never,
    OnFailure { most: Option<u32> },
}

impl FromStr for Restart {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || {
            format!(
                "restart {:?}: a job that ended well has ended; there are \"no\", on-failure and on-failure:3",
                cut(text)
            )
        };
        match text.split_once(':').unwrap_or((text, "")) {
            ("no", "") => Ok(Self::Never),
            ("on-failure", "") => Ok(Self::OnFailure { most: None }),
            ("on-failure", most) => Ok(Self::OnFailure {
                most: Some(most.parse().map_err(|_| wrong())?),
            }),
            _ => Err(wrong()),
        }
    }
}

/// A folder or file of this machine in the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Volume {
    /// What it only reads.
    Read(InputFile),
    /// The folder of results, which `x-gpux` says what to collect of.
    Results(String),
}

impl Volume {
    fn new(source: &str, target: &str, read_only: bool) -> Result<Self, String> {
        let source = Literal::from_str(source).map_err(|error| error.to_string())?.0;
        let local = source.starts_with('.') || source.starts_with('/');
        if !local {
            return Err(format!(
                "volumes: {:?} is not a path of this machine: nothing outlives a job but what it hands back; write ./{} for a folder beside this file",
                cut(&source),
                cut(source.trim_start_matches(['~', '/'])),
            ));
        }
        if read_only {
            let to = target.parse::<ContainerPath>().map_err(|error| error.to_string())?;
            return Ok(Self::Read(InputFile { path: Text(source), to }));
        }
        if target.trim_end_matches('/') == crate::OUT {
            return Ok(Self::Results(source));
        }
        Err(format!(
            "volumes: {:?} is written to: add :ro for what is only read; results are written to {}, and x-gpux says which come back",
            cut(target),
            crate::OUT
        ))
    }

    fn of_short(text: &str) -> Result<Self, String> {
        let mut parts = text.split(':');
        let (source, target, options, more) = (parts.next(), parts.next(), parts.next(), parts.next());
        let (Some(source), Some(target), None) = (source, target, more) else {
            return Err(format!(
                "volumes: {:?} is not SOURCE:TARGET or SOURCE:TARGET:ro",
                cut(text)
            ));
        };
        let mut read_only = false;
        for option in options.unwrap_or("rw").split(',') {
            match option {
                "ro" => read_only = true,
                // Labels of a kind of guard that nodes need no word about.
                "rw" | "z" | "Z" => {}
                other => return Err(format!("volumes: unknown option {:?}; there are ro and rw", cut(other))),
            }
        }
        Self::new(source, target, read_only)
    }
}

impl<'de> Deserialize<'de> for Volume {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Long {
            #[serde(rename = "type")]
            kind: Text<String>,
            source: Text<String>,
            target: Text<String>,
            #[serde(default)]
            read_only: bool,
        }

        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Volume;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("SOURCE:TARGET:ro, or a table with type, source, target and read_only")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Volume, E> {
                Volume::of_short(text).map_err(E::custom)
            }

            fn visit_map<A: de::MapAccess<'de>>(self, entries: A) -> Result<Volume, A::Error> {
                let long = Long::deserialize(de::value::MapAccessDeserializer::new(entries))?;
                if long.kind.0 != "bind" {
                    let message = format!(
                        "volumes: type {:?} outlives its container; there is bind",
                        cut(&long.kind.0)
                    );
                    return Err(de::Error::custom(message));
                }
                Volume::new(&long.source.0, &long.target.0, long.read_only).map_err(de::Error::custom)
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

impl ServiceFile {
    pub(super) fn image(&self) -> Text<ImageSource> {
        Text(self.image.0.0.clone())
    }

    pub(super) fn environment(&self) -> BTreeMap<EnvName, Spanned<Text<String>>> {
        self.environment.0.clone()
    }

    /// What a container runs. `command` follows the image's own entrypoint; an `entrypoint` takes the place of both.
    pub(super) fn command(&self) -> Spanned<CommandText> {
        let place = self
            .command
            .as_ref()
            .map_or(Location::UNKNOWN, |command| command.referenced);
        let words = self
            .command
            .as_ref()
            .map(|command| command.value.0.clone())
            .unwrap_or_default();
        let command = match &self.entrypoint {
            Some(Words(entrypoint)) => Command::Argv(entrypoint.iter().cloned().chain(words).collect()),
            None => Command::Image(words),
        };
        Spanned::new(CommandText(command), place, place)
    }

    /// What each node must give: a limit is what the program reckons with, a reservation what it needs at least. Nothing where
    /// neither is said.
    pub(super) fn resources(&self) -> Option<Spanned<ResourcesFile>> {
        let DeployResources { limits, reservations } = &self.deploy.resources;
        let cpu = limits
            .cpus
            .as_ref()
            .or(self.cpus.as_ref())
            .or(reservations.cpus.as_ref());
        let memory = [
            &limits.memory,
            &self.mem_limit,
            &reservations.memory,
            &self.mem_reservation,
        ];
        let memory = memory.into_iter().flatten().next();
        let gpu = [&limits.devices, &reservations.devices, &self.gpus]
            .into_iter()
            .flatten()
            .next();
        if cpu.is_none() && memory.is_none() && gpu.is_none() {
            return None;
        }
        let mut resources = ResourcesFile::default();
        if let Some(cpu) = cpu {
            resources.cpu = cpu.clone();
        }
        if let Some(Text(Size(memory))) = memory {
            resources.memory = Text(*memory);
        }
        resources.gpu = gpu.map(|devices| devices.0.clone());
        Some(Spanned::new(resources, Location::UNKNOWN, Location::UNKNOWN))
    }

    pub(super) fn retry(&self) -> Option<RetryFile> {
        let mut retry = RetryFile::default();
        match self.restart.as_ref()?.0 {
            // What its node loses is tried again none the less, as a machine at home that loses its power starts again.
            Restart::Never => {}
            Restart::OnFailure { most } => {
                retry.on = vec![RetryOn::ProviderFault, RetryOn::Error];
                if let Some(most) = most {
                    retry.max = Spanned::new(most, Location::UNKNOWN, Location::UNKNOWN);
                }
            }
        }
        Some(retry)
    }
}
