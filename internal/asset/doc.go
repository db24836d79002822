// Package asset keeps the files of our users, which are attachments sealed before they
// came here, and fetches files from where other providers keep theirs.
//
// A Service stores: an upload announces its length, comes in pieces of any size, each
// durable before it is answered, and is a file with a name that nobody can guess once
// the last octet is there. Whoever has the name gets the octets, as octets and nothing
// else: what is in them is for the receiver's client to find out (H95). A Handler is the
// HTTP of that, with the headers of the tus protocol for uploads.
//
// A Fetcher is the only way out. It goes where the operator's configuration says that
// peers keep files, over https, to public addresses, within bounds of size and time, and
// tells nobody for whom (AST-2, AST-3). The proxies and the gateway stand on it.
package asset
