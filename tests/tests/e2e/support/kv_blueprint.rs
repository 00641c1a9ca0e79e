//! The blueprints of the key-value application, for this machine and for pods.

const PAIR: &str = r#"pair:
            blocksWrites: true
            acquire: ["{{ params.kv }}", "{{ params.directory }}", PAUSE]
            confirm: {command: ["{{ params.kv }}", "{{ params.directory }}", STATE], expect: "'paused' in result.stdout"}
            release: ["{{ params.kv }}", "{{ params.directory }}", RESUME]"#;

const SESSION: &str = r#"session:
            command: ["{{ params.kv }}", client, "{{ params.directory }}"]
            send: [PAUSE]
            until: "^OK"
            keepAlive: PING
            confirm: {send: STATE, until: "^paused"}
            release: [RESUME]
            releaseUntil: "^OK"
            survivesClient: true"#;

/// `kv-pair`, or `kv-session`.
pub fn blueprint(by_session: bool) -> String {
    let (name, hold) = if by_session { ("kv-session", SESSION) } else { ("kv-pair", PAIR) };
    format!(
        r#"apiVersion: standstill.dev/v1alpha1
kind: Blueprint
metadata:
  name: {name}
spec:
  summary: An application with a pause of its own
  parameters:
    directory: {{type: path, summary: its directory}}
    kv: {{type: path, summary: its program}}
    lease: {{type: duration, default: 10s, summary: how long its pause may outlive a runner that died}}
  volumes:
    data: {{path: "{{{{ params.directory }}}}"}}
  actions:
    backup:
      lease: "{{{{ params.lease }}}}"
      quiesce:
        - name: pause
          {hold}
      capture:
        - name: data
          snapshot: {{volume: data}}
      store:
        - volume: {{from: captures.data, artifact: data, exclude: [socket]}}
    restore:
      volumes: {{new: {{like: data, path: "{{{{ params.directory }}}}", empty: true}}}}
      steps:
        - volume: {{artifact: data, to: new}}
    verify:
      volumes: {{scratch: {{like: data, scratch: true}}}}
      steps:
        - action: {{run: restore, volumes: {{new: scratch}}}}
        - exec: {{command: [grep, -qv, "[^0-9;]", "{{{{ volumes.scratch.path }}}}/data"]}}
"#
    )
}
