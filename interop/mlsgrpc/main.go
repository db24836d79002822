// Command mlsgrpc is a mock client for the MLS working group's interop runner:
// it serves package mls by the gRPC service MLSClient. ../README.md says how
// to run the working group's scripts against it.
package main

//go:generate go run github.com/bufbuild/buf/cmd/buf@v1.50.0 generate proto --template proto/buf.gen.yaml

import (
	"flag"
	"fmt"
	"net"
	"os"

	"google.golang.org/grpc"

	"hubbub/interop/mlsgrpc/pb"
)

func main() {
	address := flag.String("listen", "127.0.0.1:50001", "address to listen on")
	flag.Parse()
	if err := serve(*address); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func serve(address string) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	fmt.Println("listening on", l.Addr())
	s := grpc.NewServer(grpc.MaxRecvMsgSize(64<<20), grpc.MaxSendMsgSize(64<<20))
	pb.RegisterMLSClientServer(s, newServer())
	return s.Serve(l)
}
