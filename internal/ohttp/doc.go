// Package ohttp is the HTTP of Oblivious HTTP: a gateway, by which a hub fetches
// attachments for clients it does not know (AST-6, AST-7), and a relay, by which a provider
// passes sealed requests of its clients on to gateways without seeing what they ask for
// (AST-8). What is sealed, and how, is package mimi/ohttp.
//
// Both are http.Handlers that keep nothing. Who may use a relay, and how often, is for what
// stands before it.
package ohttp
