// Drives ts-mls clients by JSON objects, one a line: a request in, an answer
// out. See README.md beside the directory for the commands.
import { createInterface } from "node:readline"
import {
  acceptAll, createApplicationMessage, createCommit, createGroup, createProposal, decodeMlsMessage,
  defaultCapabilities, defaultLifetime, emptyPskIndex, encodeMlsMessage, generateKeyPackageWithKey,
  getCiphersuiteFromName, getCiphersuiteImpl, joinGroup, joinGroupExternal, makePskIndex,
  mlsExporter, processPrivateMessage, processPublicMessage,
} from "ts-mls"
import { createGroupInfo, createGroupInfoWithExternalPub } from "ts-mls/createCommit.js"
import { makeKeyPackageRef } from "ts-mls/keyPackage.js"
import { decodeRatchetTree, encodeRatchetTree } from "ts-mls/ratchetTree.js"
import { defaultClientConfig } from "ts-mls/clientConfig.js"
import { defaultExtensionTypes } from "ts-mls/defaultExtensionType.js"

const suites = {
  1: "MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519",
  2: "MLS_128_DHKEMP256_AES128GCM_SHA256_P256",
  3: "MLS_128_DHKEMX25519_CHACHA20POLY1305_SHA256_Ed25519",
}
const clients = new Map()

const b64 = (bytes) => Buffer.from(bytes).toString("base64")
const bytes = (s) => {
  if (typeof s !== "string") throw new Error("missing field: base64 expected")
  return new Uint8Array(Buffer.from(s, "base64"))
}
const equal = (a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)) === 0

function parse(s, wireformat) {
  const got = decodeMlsMessage(bytes(s), 0)
  if (!got) throw new Error("not an MLSMessage")
  if (wireformat && got[0].wireformat !== wireformat) throw new Error(`${got[0].wireformat} is not ${wireformat}`)
  return got[0]
}
const wrap = (wireformat, field, value) => b64(encodeMlsMessage({ version: "mls10", wireformat, [field]: value }))

function tree(s) {
  if (!s) return undefined
  const got = decodeRatchetTree(bytes(s), 0)
  if (!got) throw new Error("not a ratchet tree")
  return got[0]
}

// ts-mls names the extensions of RFC 9420 and numbers the others.
const names = Object.fromEntries(Object.entries(defaultExtensionTypes).map(([k, v]) => [v, k]))
const numbers = defaultExtensionTypes
const extensions = (list) =>
  (list ?? []).map((x) => ({ extensionType: names[x.type] ?? x.type, extensionData: bytes(x.data) }))

// withHeader and withoutHeader add and take the length header of ExternalPub
// (RFC 9420 §12.4.3.2), which ts-mls 1.x leaves out.
function withHeader(key) {
  const n = key.length
  return Uint8Array.from(n < 64 ? [n, ...key] : [0x40 | (n >> 8), n & 0xff, ...key])
}
function withoutHeader(b) {
  return b.slice(b[0] >> 6 === 0 ? 1 : 2)
}
// correcting reads the external_pub of a GroupInfo as it should be. All other
// keys are left alone.
function correcting(cs, gi) {
  const pub = gi.extensions.find((x) => x.extensionType === "external_pub")?.extensionData
  const importPublicKey = (k) => cs.hpke.importPublicKey(k === pub ? withoutHeader(k) : k)
  return { ...cs, hpke: { ...cs.hpke, importPublicKey } }
}

function client(r) {
  const c = clients.get(r.client)
  if (!c) throw new Error(`unknown client "${r.client}"`)
  return c
}
function member(r) {
  const c = client(r)
  const state = c.groups.get(r.group)
  if (!state) throw new Error("the client is not in this group")
  return [c, state]
}

function answer(state) {
  return {
    group: b64(state.groupContext.groupId),
    epoch: Number(state.groupContext.epoch),
    epoch_authenticator: b64(state.keySchedule.epochAuthenticator),
    active: state.groupActiveState.kind === "active",
  }
}
function keep(c, state) {
  c.groups.set(b64(state.groupContext.groupId), state)
  return answer(state)
}
const psks = (c, state) => (Object.keys(c.psks).length || state ? makePskIndex(state, c.psks) : emptyPskIndex)

const leaves = (state) =>
  state.ratchetTree
    .map((n, i) => ({ n, leaf: i / 2 }))
    .filter(({ n }) => n && n.nodeType === "leaf")
    .map(({ n, leaf }) => ({ leaf, identity: n.leaf.credential.identity, key: n.leaf.signaturePublicKey }))

function leafOf(state, r) {
  if (r.leaf !== undefined) return r.leaf
  const found = leaves(state).find((m) => equal(m.identity, bytes(r.identity)))
  if (!found) throw new Error("nobody has this identity")
  return found.leaf
}

function proposal(c, state, p) {
  switch (p.type) {
    case "add":
      return { proposalType: "add", add: { keyPackage: parse(p.key_package, "mls_key_package").keyPackage } }
    case "remove":
      return { proposalType: "remove", remove: { removed: leafOf(state, p) } }
    case "psk": {
      const pskNonce = crypto.getRandomValues(new Uint8Array(c.cs.kdf.size))
      return { proposalType: "psk", psk: { preSharedKeyId: { psktype: "external", pskId: bytes(p.psk_id), pskNonce } } }
    }
    case "gce":
      return { proposalType: "group_context_extensions", groupContextExtensions: { extensions: extensions(p.extensions) } }
    case "custom":
      return { proposalType: p.proposal_type, proposalData: bytes(p.data) }
  }
  throw new Error(`unknown proposal type "${p.type}"`)
}

async function commit(r, extraProposals) {
  const [c, state] = member(r)
  const inWelcome = r.tree_in_welcome !== false
  const got = await createCommit(
    { state, cipherSuite: c.cs, pskIndex: psks(c, state) },
    { wireAsPublicMessage: r.wire !== "private", extraProposals, ratchetTreeExtension: inWelcome },
  )
  const out = { commit: b64(encodeMlsMessage(got.commit)), ...keep(c, got.newState) }
  if (got.welcome) {
    out.welcome = wrap("mls_welcome", "welcome", got.welcome)
    if (!inWelcome) out.ratchet_tree = b64(encodeRatchetTree(got.newState.ratchetTree))
  }
  return out
}

async function newKeyPackage(c, r) {
  const capabilities = defaultCapabilities()
  capabilities.extensions.push(...c.capExtensions)
  capabilities.proposals.push(...c.capProposals)
  const now = BigInt(Math.floor(Date.now() / 1000))
  const lifetime = r.lifetime_s === undefined ? defaultLifetime : { notBefore: now - 3600n, notAfter: now + BigInt(r.lifetime_s) }
  return generateKeyPackageWithKey(
    { credentialType: "basic", identity: c.identity }, capabilities, lifetime,
    extensions(r.extensions), c.keys, c.cs, extensions(r.leaf_extensions),
  )
}

const commands = {
  info: () => ({
    name: "ts-mls", version: "1.6", ciphersuites: Object.keys(suites).map(Number), credential_types: [1],
    lacks: ["PSK in external joins", "Update proposals of its own", "forced paths"], commands: Object.keys(commands),
  }),
  async create_client(r) {
    const name = suites[r.suite ?? 1]
    if (!name) throw new Error("unsupported cipher suite")
    const cs = await getCiphersuiteImpl(getCiphersuiteFromName(name))
    const keys = await cs.signature.keygen()
    const identity = r.identity ? bytes(r.identity) : new TextEncoder().encode(r.client)
    clients.set(r.client, {
      cs, keys, identity, groups: new Map(), packages: [], psks: {},
      capExtensions: r.cap_extensions ?? [], capProposals: r.cap_proposals ?? [],
    })
    return { identity: b64(identity), signature_key: b64(keys.publicKey) }
  },
  async key_package(r) {
    const c = client(r)
    const kp = await newKeyPackage(c, r)
    c.packages.push(kp)
    return { key_package: wrap("mls_key_package", "keyPackage", kp.publicPackage) }
  },
  async create_group(r) {
    const c = client(r)
    const kp = await newKeyPackage(c, { lifetime_s: 86400, leaf_extensions: r.leaf_extensions })
    return keep(c, await createGroup(bytes(r.group), kp.publicPackage, kp.privatePackage, extensions(r.group_extensions), c.cs))
  },
  add: (r) => commit(r, r.key_packages.map((k) => proposal(null, null, { type: "add", key_package: k }))),
  async remove(r) {
    const [c, state] = member(r)
    return commit(r, [proposal(c, state, { ...r, type: "remove" })])
  },
  update: (r) => commit(r, []),
  async commit(r) {
    const [c, state] = member(r)
    return commit(r, (r.proposals ?? []).map((p) => proposal(c, state, p)))
  },
  async propose(r) {
    const [c, state] = member(r)
    const got = await createProposal(state, r.wire !== "private", proposal(c, state, r.proposal), c.cs)
    return { message: b64(encodeMlsMessage(got.message)), ...keep(c, got.newState) }
  },
  async process(r) {
    const [c, state] = member(r)
    const m = parse(r.message)
    const contentType = m.publicMessage?.content.contentType ?? m.privateMessage?.contentType
    // Not processMessage: it leaves the PSKs out for a PrivateMessage.
    const got = m.publicMessage
      ? await processPublicMessage(state, m.publicMessage, psks(c, state), c.cs, acceptAll)
      : await processPrivateMessage(state, m.privateMessage, psks(c, state), c.cs, acceptAll)
    const out = { kind: contentType, ...keep(c, got.newState) }
    if (got.kind === "applicationMessage") {
      out.plaintext = b64(got.message)
      out.aad = b64(m.privateMessage.authenticatedData)
    }
    return out
  },
  async encrypt(r) {
    const [c, state] = member(r)
    const got = await createApplicationMessage(state, bytes(r.plaintext), c.cs, r.aad ? bytes(r.aad) : undefined)
    return { message: wrap("mls_private_message", "privateMessage", got.privateMessage), ...keep(c, got.newState) }
  },
  async decrypt(r) {
    const got = await commands.process(r)
    if (got.kind !== "application") throw new Error("message is not application data")
    return got
  },
  async join_welcome(r) {
    const c = client(r)
    const welcome = parse(r.welcome, "mls_welcome").welcome
    for (const kp of c.packages) {
      const ref = await makeKeyPackageRef(kp.publicPackage, c.cs.hash)
      if (!welcome.secrets.some((s) => equal(s.newMember, ref))) continue
      return keep(c, await joinGroup(welcome, kp.publicPackage, kp.privatePackage, psks(c), c.cs, tree(r.ratchet_tree)))
    }
    throw new Error("welcome is not for this client")
  },
  // as_is leaves external_pub as ts-mls makes it.
  async export_group_info(r) {
    const [c, state] = member(r)
    const list = []
    const out = {}
    const encoded = encodeRatchetTree(state.ratchetTree)
    if (r.with_tree !== false) list.push({ extensionType: "ratchet_tree", extensionData: encoded })
    else out.ratchet_tree = b64(encoded)
    let gi
    if (r.as_is) {
      gi = await createGroupInfoWithExternalPub(state, list, c.cs)
    } else {
      const pair = await c.cs.hpke.deriveKeyPair(state.keySchedule.externalSecret)
      const key = await c.cs.hpke.exportPublicKey(pair.publicKey)
      list.push({ extensionType: "external_pub", extensionData: withHeader(key) })
      gi = await createGroupInfo(state.groupContext, state.confirmationTag, state, list, c.cs)
    }
    return { ...out, group_info: wrap("mls_group_info", "groupInfo", gi) }
  },
  // as_is lets ts-mls read external_pub as it does by itself.
  async external_join(r) {
    const c = client(r)
    const gi = parse(r.group_info, "mls_group_info").groupInfo
    const kp = await newKeyPackage(c, {})
    const config = {
      ...defaultClientConfig,
      keyPackageEqualityConfig: {
        ...defaultClientConfig.keyPackageEqualityConfig,
        compareKeyPackageToLeafNode: (a, b) => equal(a.leafNode.signaturePublicKey, b.signaturePublicKey),
      },
    }
    const cs = r.as_is ? c.cs : correcting(c.cs, gi)
    const got = await joinGroupExternal(gi, kp.publicPackage, kp.privatePackage, r.resync ?? false, cs, tree(r.ratchet_tree), config)
    return { commit: wrap("mls_public_message", "publicMessage", got.publicMessage), ...keep(c, got.newState) }
  },
  state(r) {
    const [, state] = member(r)
    return {
      ...answer(state), tree_hash: b64(state.groupContext.treeHash),
      members: leaves(state).map((m) => ({ leaf: m.leaf, identity: b64(m.identity ?? []), signature_key: b64(m.key) })),
      extensions: state.groupContext.extensions.map((x) => ({
        type: numbers[x.extensionType] ?? x.extensionType, data: b64(x.extensionData),
      })),
    }
  },
  async exporter(r) {
    const [c, state] = member(r)
    return { secret: b64(await mlsExporter(state.keySchedule.exporterSecret, r.label, bytes(r.context), r.length, c.cs)) }
  },
  store_psk(r) {
    client(r).psks[r.psk_id] = bytes(r.psk)
    return {}
  },
  free(r) {
    if (r.group === undefined) clients.delete(r.client)
    else client(r).groups.delete(r.group)
    return {}
  },
  quit: () => ({}),
}

for await (const line of createInterface({ input: process.stdin, crlfDelay: Infinity })) {
  if (!line.trim()) continue
  let r = { id: null }
  const start = performance.now()
  let a
  try {
    r = JSON.parse(line)
    const command = commands[r.cmd]
    if (!command) throw new Error(`unknown command "${r.cmd}"`)
    a = { ok: true, ...(await command(r)) }
  } catch (e) {
    a = { ok: false, error: String(e?.message ?? e) }
  }
  console.log(JSON.stringify({ id: r?.id ?? null, ms: performance.now() - start, ...a }))
  if (r?.cmd === "quit") process.exit(0)
}
