package client_test

import (
	"context"
	"fmt"
	"log"
	"strings"

	"hubbub/client"
)

// A bot that answers what it is told. Its device was made before with
// client.Enrol, or with "hubbub enrol". It may be killed at any time.
func Example() {
	ctx := context.Background()
	bot, err := client.Open(ctx, "/var/lib/echo-bot", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer bot.Close()
	for ev := range bot.Events(ctx) {
		m, ok := ev.(client.MessageReceived)
		if !ok || m.Message.Sender == bot.User() {
			continue
		}
		if text, ok := strings.CutPrefix(m.Message.Text, "!echo "); ok {
			if _, err := bot.Send(ctx, m.Message.Room, text); err != nil {
				fmt.Println("cannot answer:", err)
			}
		}
	}
}
