//! keepalived's words: what they are called here, for those who bring a keepalived.conf along.

/// Where a key stands, as the keys that are known there show.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    File,
    Router,
    Group,
    Script,
    Auth,
}

use Place::{Auth, File, Group, Router, Script};

const AUTH: &str = "write `auth = { type = \"pass\", password = \"1111\" }`";
const VIPS: &str = "write `vips = [\"192.168.81.100/24\"]`";
const SOURCE: &str = "write `source = \"192.168.81.2\"`";
const NOTIFY: &str = "write `notify`: the third argument of what it runs is MASTER, BACKUP, FAULT or STOP";
const MAIL: &str = "mail is for `notify`, or for the alerts of a monitoring system; remove it";
const ANSWERS: &str = "a master that hears of another one always answers, and announces as `garp` says; remove it";
const WHOLE_GROUP: &str = "what a member tracks counts for the whole group: write it in one of them";

/// keepalived's word, and what to write.
const WORDS: &[(Place, &str, &str)] = &[
    (File, "vrrp_instance", "write a table [[vrrp]] with a `name` for each"),
    (File, "vrrp_sync_group", "write a table [[sync_group]] with a `name` and `members`"),
    (File, "vrrp_script", "write a table [script.NAME]"),
    (File, "virtual_server", "write a table [[service]], and a table [pool.NAME] for its real servers"),
    (File, "global_defs", "what is of this machine stands in [director]"),
    (
        Router,
        "state",
        "it says nothing that `priority` does not: every director starts as backup, and the one with the highest priority \
         becomes master; remove it, and see to `priority`",
    ),
    (Router, "advert_int", "write `advert_interval = \"1s\"`"),
    (Router, "authentication", AUTH),
    (Router, "auth_type", AUTH),
    (Router, "auth_pass", AUTH),
    (Router, "virtual_ipaddress", VIPS),
    (Router, "virtual_ipaddress_excluded", "write `vips_excluded = [\"192.168.81.101/24\"]`"),
    (Router, "nopreempt", "write `preempt = false`"),
    (Router, "dont_track_primary", "the interface of a virtual router is always tracked; remove it"),
    (Router, "track_script", "write `track = [{ script = \"NAME\", weight = -20 }]`"),
    (Router, "track_process", "write `track = [{ process = \"NAME\", weight = -20 }]`"),
    (Router, "track_file", "write `track = [{ file = \"/PATH\", weight = 1 }]`"),
    (Router, "unicast_peer", "write `unicast_peers = [\"192.168.81.3\"]`"),
    (Router, "unicast_src_ip", SOURCE),
    (Router, "unicast_source", SOURCE),
    (Router, "mcast_src_ip", SOURCE),
    (Router, "use_vmac", "write `virtual_mac = true`"),
    (Router, "no_accept", "write `accept = false`"),
    (Router, "vrrp_version", "write `version`"),
    (Router, "native_ipv6", "write IPv6 addresses in `vips`"),
    (Router, "virtual_routes", "write `routes = [{ to = \"10.0.0.0/8\", via = \"192.168.81.1\" }]`"),
    (Router, "virtual_rules", "write `rules = [{ from = \"10.0.0.0/8\", table = 100, priority = 1000 }]`"),
    (Router, "garp_master_repeat", "write `garp = { repeat = 5 }`"),
    (Router, "garp_master_delay", "write `garp = { delays = [\"5s\"] }`"),
    (Router, "garp_master_refresh", "write `garp = { refresh = \"60s\" }`"),
    (Router, "garp_master_refresh_repeat", "write `garp = { refresh_repeat = 1 }`"),
    (Router, "garp_lower_prio_repeat", ANSWERS),
    (Router, "garp_lower_prio_delay", ANSWERS),
    (Router, "lower_prio_no_advert", ANSWERS),
    (Router, "higher_prio_send_advert", "a master that gives way always says so; remove it"),
    (Router, "v3_checksum_as_v2", "write `checksum = \"rfc9568\"`"),
    (Router, "notify_master", NOTIFY),
    (Router, "notify_backup", NOTIFY),
    (Router, "notify_fault", NOTIFY),
    (Router, "notify_stop", NOTIFY),
    (Router, "notify_master_rx_lower_pri", "there is no such hook; remove it"),
    (Router, "smtp_alert", MAIL),
    (Group, "group", "write `members = [\"VI_1\", \"VI_2\"]`"),
    (Group, "notify_master", NOTIFY),
    (Group, "notify_backup", NOTIFY),
    (Group, "notify_fault", NOTIFY),
    (Group, "notify_stop", NOTIFY),
    (Group, "smtp_alert", MAIL),
    (Group, "track_script", WHOLE_GROUP),
    (Group, "track_process", WHOLE_GROUP),
    (Group, "track_file", WHOLE_GROUP),
    (Group, "track_interface", WHOLE_GROUP),
    (Group, "global_tracking", WHOLE_GROUP),
    (Script, "script", "write `command = [\"/PROGRAM\", \"ARGUMENT\"]`"),
    (Script, "weight", "it belongs to who tracks: write `track = [{ script = \"NAME\", weight = -20 }]` in [[vrrp]]"),
    (Script, "init_fail", "the first run is at once, and decides; remove it"),
    (Auth, "auth_type", "write `type = \"pass\"`"),
    (Auth, "auth_pass", "write `password`"),
];

/// What to write for a word of keepalived's, at the place where `known` are the known keys.
pub fn translate(key: &str, known: &[&str]) -> Option<&'static str> {
    let place = place(known)?;
    WORDS.iter().find(|(at, word, _)| *at == place && *word == key).map(|(_, _, cure)| *cure)
}

/// Each place has a key that the others have not.
fn place(known: &[&str]) -> Option<Place> {
    let marks =
        [("director", File), ("virtual_router_id", Router), ("members", Group), ("rise", Script), ("password", Auth)];
    marks.iter().find(|(mark, _)| known.contains(mark)).map(|(_, place)| *place)
}
