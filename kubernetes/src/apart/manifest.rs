//! The pod of a step `pod`.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};
use standstill_core::{Error, Result, cluster::PodSpec, language::PodSecurity};

use super::SecretKey;
use crate::{
    launch::{Mounted, beside, restricted},
    mover::MoverSettings,
    names,
    record::PodRecord,
    target::Target,
};

/// The container's name.
pub(super) const CONTAINER: &str = "command";
/// What stands for the target's own image.
const OF_TARGET: &str = "target";
/// Who a command runs as beside files of root, which the restricted profile does not let it be: nobody.
const NOBODY: i64 = 65534;
/// The seconds that a command has for its own tidying up when it is ended.
const GRACE: u32 = 5;

/// What a pod is made of besides what its step says.
pub(super) struct Of<'a> {
    pub(super) record: &'a PodRecord,
    pub(super) target: Option<&'a Target>,
    pub(super) settings: &'a MoverSettings,
    pub(super) secrets: &'a BTreeMap<String, SecretKey>,
}

impl Of<'_> {
    /// The pod; it ends by itself when `within` is over, whoever watches it.
    ///
    /// # Errors
    /// [`standstill_core::ErrorKind::Input`] when the target has not what the step asks for.
    pub(super) fn pod(&self, spec: &PodSpec, within: Duration) -> Result<Value> {
        let mounts = self.mounts(spec)?;
        let mut volumes: Vec<Value> = vec![json!({"name": "tmp", "emptyDir": {}})];
        volumes.extend(mounts.iter().enumerate().map(|(number, mount)| {
            json!({"name": volume(number), "persistentVolumeClaim": {"claimName": mount.claim}})
        }));
        let settings = self.settings;
        let mut pod = json!({
            "restartPolicy": "Never",
            "automountServiceAccountToken": false,
            "enableServiceLinks": false,
            "terminationGracePeriodSeconds": GRACE,
            "activeDeadlineSeconds": within.as_secs().max(1),
            "imagePullSecrets": settings.pull_secrets.iter().map(|name| json!({"name": name})).collect::<Vec<_>>(),
            "tolerations": settings.tolerations,
            "securityContext": self.user(spec.security),
            "containers": [self.container(spec, &mounts)?],
            "volumes": volumes,
        });
        // A claim is in use on the target's node, and most can be used on one node alone.
        let node = self.target.and_then(|target| target.pod.as_ref()).map(|pod| &pod.node);
        if let (false, Some(node)) = (mounts.is_empty(), node) {
            pod["affinity"] = beside(node);
        }
        Ok(json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": self.record.name,
                "namespace": self.record.namespace,
                "labels": names::labels(&self.record.run, "pod"),
                "ownerReferences": settings.owner.iter().collect::<Vec<_>>(),
            },
            "spec": pod,
        }))
    }

    /// What the volumes lie on, mounted where the target has it: of two that lie on the same it is one.
    fn mounts(&self, spec: &PodSpec) -> Result<Vec<Mounted>> {
        let of_root = self.settings.data_owner.is_some_and(|owner| owner.user == 0);
        if of_root && !spec.volumes.is_empty() && spec.security == PodSecurity::Restricted {
            return Err(Error::input(format!(
                "{} reads a volume whose files are root's, which the restricted profile lets nobody be",
                spec.step
            ))
            .remedy("Add `security: baseline` to the step."));
        }
        let mut mounts: Vec<Mounted> = Vec::new();
        for path in &spec.volumes {
            let target = self.target.ok_or_else(|| unknown(spec, "reads a volume"))?;
            let place = target.volume_path(path)?;
            let of_target = target.mounts.iter().find(|mount| mount.path == place.mount);
            let sub_path = of_target.and_then(|mount| mount.sub_path.clone());
            let mounted = Mounted { claim: place.claim, path: place.mount, sub_path, read_only: true };
            if !mounts.contains(&mounted) {
                mounts.push(mounted);
            }
        }
        Ok(mounts)
    }

    fn container(&self, spec: &PodSpec, mounts: &[Mounted]) -> Result<Value> {
        let (image, policy) = match self.target {
            Some(target) if spec.image == OF_TARGET => (&target.image, target.pull_policy.as_ref()),
            None if spec.image == OF_TARGET => return Err(unknown(spec, "runs in the target's image")),
            _ => (&spec.image, None),
        };
        let mut all = vec![json!({"name": "tmp", "mountPath": "/tmp"})];
        for (number, mounted) in mounts.iter().enumerate() {
            let mut mount = json!({
                "name": volume(number),
                "mountPath": mounted.path,
                "readOnly": mounted.read_only,
            });
            if let Some(sub_path) = &mounted.sub_path {
                mount["subPath"] = json!(sub_path);
            }
            all.push(mount);
        }
        let memory = spec.memory.as_deref().unwrap_or("256Mi");
        Ok(json!({
            "name": CONTAINER,
            "image": image,
            "imagePullPolicy": policy,
            "command": spec.argv.iter().map(|part| escaped(part)).collect::<Vec<_>>(),
            "env": self.environment(spec)?,
            "volumeMounts": all,
            "resources": {
                "requests": {"cpu": spec.cpu.as_deref().unwrap_or("10m"), "memory": memory},
                "limits": {"memory": memory},
            },
            "securityContext": match spec.security {
                PodSecurity::Restricted => restricted(&[]),
                PodSecurity::Baseline => json!({"allowPrivilegeEscalation": false}),
            },
        }))
    }

    fn environment(&self, spec: &PodSpec) -> Result<Vec<Value>> {
        let plain = spec.env.iter().map(|(name, value)| Ok(json!({"name": name, "value": escaped(value)})));
        let secret = spec.secret_env.iter().map(|(name, parameter)| {
            let (secret, key) = self.secrets.get(parameter).ok_or_else(|| {
                Error::input(format!("the secret parameter `{parameter}` of {} is in no Secret", spec.step))
                    .remedy("Give it a value by `--set` or the values file.")
            })?;
            let from = json!({"secretKeyRef": {"name": secret, "key": key}});
            Ok(json!({"name": name, "valueFrom": from}))
        });
        plain.chain(secret).collect()
    }

    /// Who the command runs as. Without `fsGroup`: nothing may change the owner of a database's files.
    fn user(&self, security: PodSecurity) -> Value {
        let profile = json!({"type": "RuntimeDefault"});
        if security == PodSecurity::Baseline {
            return json!({"seccompProfile": profile});
        }
        let owner = self.settings.data_owner.filter(|owner| owner.user != 0);
        let mut user = json!({"runAsNonRoot": true, "seccompProfile": profile});
        user["runAsUser"] = json!(owner.map_or(NOBODY, |owner| owner.user));
        if let Some(group) = owner.map_or(Some(NOBODY), |owner| owner.group) {
            user["runAsGroup"] = json!(group);
        }
        user
    }
}

/// The name of a volume: claims may have names that volumes may not.
fn volume(number: usize) -> String {
    format!("claim-{number}")
}

fn unknown(spec: &PodSpec, does: &str) -> Error {
    Error::input(format!("{} {does}, and the target's pod is not known", spec.step))
        .remedy("Name the target's workload.")
}

/// A text that reaches the program as it is: `$(NAME)` would be a variable's value, and `$$` is one `$` (Kubernetes'
/// documentation, "Define dependent environment variables").
fn escaped(text: &str) -> String {
    text.replace('$', "$$")
}

#[cfg(test)]
#[path = "manifest_tests.rs"]
mod tests;
