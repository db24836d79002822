-- One of three servers of the benchmark. Debian's modules, less limits, dialback,
-- invitations and administration; registration is open for the benchmark's users.
run_as_root = true
daemonize = false
pidfile = "{{.Dir}}/prosody.pid"
data_path = "{{.Dir}}"
log = { warn = "{{.Log}}" }
interfaces = { "{{.IP}}" }
c2s_ports = { }
c2s_direct_tls_ports = { {{.ClientPort}} }
s2s_ports = { {{.ServerPort}} }

modules_enabled = {
	"disco", "roster", "saslauth", "tls", "blocklist", "bookmarks", "carbons", "pep", "private", "smacks",
	"vcard4", "vcard_legacy", "csi_simple", "ping", "register", "time", "uptime", "version", "posix",
}
allow_registration = true
authentication = "internal_plain"
ssl = { certificate = "{{.Cert}}", key = "{{.Key}}", cafile = "{{.CA}}" }
c2s_require_encryption = true
s2s_require_encryption = true
s2s_secure_auth = true
unbound = {
	resolvconf = false, hoststxt = false, forward = { "{{.DNS}}@{{.DNSPort}}" },
	options = { ["do-not-query-localhost:"] = "no" },
}

storage_archive_item_limit = 1000000
{{if eq .Store "sqlite"}}
storage = { muc_log = "sql" }
sql = { driver = "SQLite3", database = "{{.Dir}}/archive.sqlite" }
{{end}}
VirtualHost "{{.Host}}"

Component "muc.{{.Host}}" "muc"
	modules_enabled = { "muc_mam" }
	muc_log_by_default = true
	muc_room_locking = false
	muc_room_default_persistent = true
