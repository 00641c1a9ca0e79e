//! etcd in a pod, by the blueprint that ships: backed up under a writer, verified, restored.

use crate::{
    blueprints::in_rounds,
    support::{etcd::Etcd, writer::assert_whole},
};

#[test]
fn an_etcd_under_a_writer_comes_back_whole_from_a_snapshot() {
    in_rounds("etcd", |space| {
        let member = Etcd::start(space);
        let writer = member.writer();
        let before = writer.acknowledged();
        let backup = member.ok(&["backup", "etcd", "--name=config"]);
        let after = writer.stop() + 1;
        assert_eq!(backup.json()["consistency"], "application", "{backup}");
        let verified = member.ok(&["verify", "latest"]);
        assert_eq!(verified.json()["outcome"], "passed", "{verified}");
        space.assert_clean();
        member.ok(&["restore", "latest", "--set=dataDir=/var/lib/etcd/data", "--set=target.claim=restored"]);
        assert_whole(&Etcd::second(space, "restored").numbers(), before, after);
        space.assert_clean();
    });
}
