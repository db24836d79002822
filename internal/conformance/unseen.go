package conformance

const (
	inside    = "cannot be seen from outside: "
	untried   = "not tried by this tool: "
	elsewhere = "is about clients, not providers: "
)

// unseen are requirements that nobody judges here, and why.
var unseen = []check{
	{id: "WIRE-7", what: "widths of enumerations", why: "shows in every body that is understood (WIRE-1)"},
	{id: "WIRE-10", what: "hashes over octets as received", why: inside + "SUB-9 shows that octets are kept"},
	{id: "TRN-11", what: "what is answered is durable", why: inside + "the target would have to be killed"},
	{id: "DIR-8", what: "how long a directory is kept", why: untried + "the target may keep ours for an hour"},
	{id: "KM-1", what: "KeyPackages are stored by user and client", why: inside + "KM-8 and KM-9 show what comes of it"},
	{id: "KM-11", what: "capabilities may be withheld", why: "a permission; both ways are understood (KM-14)"},
	{id: "KM-17", what: "the way of a Welcome is remembered", why: inside + "FAN-4 and FAN-17 show what comes of it"},
	{id: "KM-18", what: "how long it is remembered", why: "a permission, and not seen from outside"},
	{id: "KM-19", what: "key material is for one room", why: inside + "what is reserved for whom"},
	{id: "KM-20", what: "claims are limited", why: untried + "where the limit lies is the target's choice, and finding it uses up what the test user has"},
	{id: "UPD-1", what: "everything changes through update", why: inside + "that nothing else changes anything"},
	{id: "UPD-15", what: "success is a promise", why: inside + "UPD-14 shows it kept, FAN-7 and FAN-21 that it outlasts failures of ours; the target would have to be killed"},
	{id: "UPD-26", what: "commits take effect when accepted", why: elsewhere + "what they hold before the answer"},
	{id: "SUB-4", what: "roles", why: untried + "the room of the target would need a role that may not post, and our user in it"},
	{id: "SUB-8", what: "accepted is a promise", why: inside + "FAN-2 shows it kept, FAN-7 and FAN-21 that it outlasts failures of ours; the target would have to be killed"},
	{id: "SUB-14", what: "refusals for local reasons", why: "a permission"},
	{id: "GI-4", what: "who asks is who joins", why: untried + "it takes a joining code of a room of the target"},
	{id: "GI-11", what: "joiners keep pending SelfRemoves", why: elsewhere + "what is committed"},
	{id: "GI-12", what: "joiners check what they are given", why: elsewhere + "what is joined"},
	{id: "GI-13", what: "what it serves for", why: "a new device is GI-1; codes and open rooms are not tried by this tool"},
	{id: "CON-4", what: "what is taken back is what was asked", why: inside + "what its user is shown of requests"},
	{id: "CON-11", what: "a revocation need not be told", why: "a permission"},
	{id: "CON-12", what: "asking and granting at once", why: "is made of CON-1, CON-5 and CON-8"},
	{id: "ABU-4", what: "evidence is checked", why: inside + "the answer is the same whatever it proves (ABU-3)"},
	{id: "ABU-5", what: "of this room and sender", why: inside + "the answer is the same whatever it proves (ABU-3)"},
	{id: "AST-4", what: "neither room nor user is named", why: "shows in AST-1, whose request names none"},
	{id: "AST-5", what: "files may be kept", why: "a permission"},
	{id: "AST-8", what: "a relay for the own users", why: elsewhere + "the way to their own provider is the provider's choice"},
	{id: "AST-9", what: "the way of a download", why: elsewhere + "what the room's policy lets them choose"},
	{id: "AST-10", what: "the place of an upload", why: elsewhere + "which go to their own provider"},
	{id: "AST-11", what: "hosts that a room allows", why: elsewhere + "what they fetch"},
}
