package conformance

const (
	inside     = "cannot be seen from outside: "
	untried    = "not tried by this tool: "
	elsewhere  = "is about clients, not providers: "
	threeSides = "takes a third provider: "
)

// unseen are requirements that nobody judges here, and why.
var unseen = []check{
	{id: "WIRE-7", what: "widths of enumerations", why: "shows in every body that is understood (WIRE-1)"},
	{id: "WIRE-10", what: "hashes over octets as received", why: inside + "SUB-9 shows that octets are kept"},
	{id: "TRN-11", what: "what is answered is durable", why: inside + "the target would have to be killed"},
	{id: "DIR-6", what: "names of variables", why: untried + "the target would have to ask for consent"},
	{id: "DIR-8", what: "how long a directory is kept", why: untried + "it takes as long as the target keeps it"},
	{id: "KM-1", what: "KeyPackages are stored by user and client", why: inside + "KM-8 and KM-9 show what comes of it"},
	{id: "KM-7", what: "a hub relays a request unchanged", why: threeSides + "the octets it gets"},
	{id: "KM-11", what: "capabilities may be withheld", why: "a permission; both ways are understood (KM-14)"},
	{id: "KM-17", what: "the way of a Welcome is remembered", why: inside + "FAN-4 and FAN-17 show what comes of it"},
	{id: "KM-18", what: "how long it is remembered", why: inside + "a permission"},
	{id: "KM-19", what: "key material is for one room", why: inside + "what is reserved for whom"},
	{id: "KM-20", what: "claims are limited", why: untried + "it would use up what the test user has"},
	{id: "KM-22", what: "claims are not repeated", why: untried + "an answer of ours would have to be lost; FAN-4 shows one claim"},
	{id: "UPD-1", what: "everything changes through update", why: inside + "that nothing else changes anything"},
	{id: "UPD-5", what: "a bundle of proposals is taken whole", why: untried + "it takes five proposals of one sender"},
	{id: "UPD-8", what: "removal from list and group together", why: untried + "our user has no right to remove anybody (UPD-12)"},
	{id: "UPD-10", what: "what who is leaving may still send", why: untried + "UPD-9 shows what it may not"},
	{id: "UPD-13", what: "offending proposals are named", why: untried + "a commit by reference to what is not there"},
	{id: "UPD-15", what: "success is a promise", why: inside + "UPD-14 shows it kept once"},
	{id: "UPD-16", what: "the order of the checks", why: "shows in TRN-8 and WIRE-6: malformed before unknown, unknown before refused"},
	{id: "UPD-17", what: "pending proposals are committed", why: untried + "our library commits what is pending"},
	{id: "UPD-19", what: "external commits and pending proposals", why: untried + "nothing is pending when our client joins (GI-1)"},
	{id: "UPD-20", what: "a refused commit's Welcome goes nowhere", why: threeSides + "whom the Welcome is for"},
	{id: "UPD-23", what: "partial GroupInfo", why: untried + "a permission of the sender that this tool does not use"},
	{id: "UPD-24", what: "external_pub", why: "shows in GI-1"},
	{id: "UPD-25", what: "one commit an epoch", why: inside + "UPD-11 shows the second of two"},
	{id: "UPD-26", what: "commits take effect when accepted", why: elsewhere + "UPD"},
	{id: "UPD-28", what: "the first state of a room", why: "is made within the target; FAN-4 shows that it can be joined"},
	{id: "SUB-4", what: "roles", why: untried + "the room would need a role that may not post"},
	{id: "SUB-8", what: "accepted is a promise", why: inside + "FAN-2 shows it kept"},
	{id: "SUB-10", what: "followers pass on what their clients post", why: untried + "a user of the target would have to post in a room of ours"},
	{id: "SUB-11", what: "what waits for a hub", why: inside + "what other clients of the target are shown"},
	{id: "SUB-13", what: "refusals are not tried again", why: untried + "a user of the target would have to post in a room of ours"},
	{id: "SUB-14", what: "refusals for local reasons", why: "a permission"},
	{id: "FAN-1", what: "everybody is told", why: threeSides + "whether it is told, too"},
	{id: "FAN-5", what: "what the hub says itself is announced", why: untried + "the hub would have to remove somebody"},
	{id: "FAN-10", what: "who was removed is told nothing more", why: untried + "somebody would have to commit the removal"},
	{id: "FAN-11", what: "who was removed is told so", why: untried + "somebody would have to commit the removal"},
	{id: "FAN-12", what: "bundles are announced as they were sent", why: threeSides + "a provider that has not sent them"},
	{id: "FAN-13", what: "proposals made anew", why: untried + "the hub would have to have one pending"},
	{id: "FAN-21", what: "one that is away holds up nobody", why: threeSides + "one that is away"},
	{id: "GI-4", what: "who asks is who joins", why: untried + "a joining code"},
	{id: "GI-11", what: "joiners keep pending SelfRemoves", why: elsewhere + "what is committed"},
	{id: "GI-12", what: "joiners check what they are given", why: elsewhere + "what is joined"},
	{id: "GI-13", what: "what it serves for", why: "a new device is GI-1; codes and open rooms are not tried by this tool"},
	{id: "GI-14", what: "a request is bound to its source", why: threeSides + "one that replays it"},
}
