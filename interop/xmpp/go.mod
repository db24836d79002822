module hubbub/interop/xmpp

go 1.26.0
