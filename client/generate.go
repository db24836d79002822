package client

//go:generate go run github.com/bufbuild/buf/cmd/buf@v1.50.0 generate ../proto --template ../proto/buf.gen.yaml
