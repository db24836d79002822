// Xmpp measures three federated XMPP servers on this machine with the works of
// `hubbub bench post` and `fan`, so that both can be compared. README.md says
// what it starts and what its figures mean.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

// options are what the command line asks for.
type options struct {
	servers, stores, works []string

	singles  int           // messages one at a time
	messages int           // of each pipelined work
	rooms    int           // of the work "many"
	users    int           // receivers of the work "fan"
	posts    int           // messages of the work "fan"
	window   int           // messages of one sender under way
	limit    time.Duration // a pipelined work stops sending after this
	quiet    time.Duration // how long to wait for an idle machine before each work
	json     string        // file for the report, "" for none
	keep     bool          // leave configurations, logs and stores behind
}

var (
	allServers = []string{"prosody", "ejabberd"}
	allStores  = []string{"sqlite", "native"}
	// In this order: what leaves much in a room comes last.
	allWorks = []string{"single", "fan", "many", "one"}
)

func main() {
	if len(os.Args) == 2 && os.Args[1] == echoArg {
		echo()
		return
	}
	o, err := parse(os.Args[1:])
	if err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	r, err := run(ctx, o)
	if r != nil {
		r.print(os.Stdout)
		err = errors.Join(err, save(o.json, r))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		stop()
		os.Exit(1)
	}
}

func parse(args []string) (o options, err error) {
	fs := flag.NewFlagSet("xmpp", flag.ContinueOnError)
	servers := fs.String("servers", "prosody,ejabberd", "which servers")
	stores := fs.String("stores", "sqlite,native", "which archives: sqlite, and what each server uses when nothing is set")
	works := fs.String("works", "single,fan,many,one", "which works; fan is done with the first store only")
	fs.IntVar(&o.singles, "singles", 1000, "messages one at a time")
	fs.IntVar(&o.messages, "messages", 20000, "messages of each pipelined work")
	fs.IntVar(&o.rooms, "rooms", 50, "rooms, senders and receivers of the work many")
	fs.IntVar(&o.users, "users", 1000, "receivers of the work fan")
	fs.IntVar(&o.posts, "posts", 20, "messages of the work fan")
	fs.IntVar(&o.window, "window", 1024, "messages of one sender under way at once")
	fs.DurationVar(&o.limit, "limit", time.Minute, "stop sending in the work one after this; the rate is of what was sent")
	fs.DurationVar(&o.quiet, "quiet", 10*time.Second, "before each work, wait so long at most until the machine is idle")
	fs.StringVar(&o.json, "json", "", "write the report to this file as well")
	fs.BoolVar(&o.keep, "keep", false, "leave configurations, logs and stores in the temporary directory")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	if fs.NArg() > 0 || min(o.singles, o.messages, o.rooms, o.users, o.posts, o.window) <= 0 {
		return o, errors.New("no arguments besides flags, and numbers above 0")
	}
	var bad [3]error
	o.servers, bad[0] = choose(*servers, allServers)
	o.stores, bad[1] = choose(*stores, allStores)
	o.works, bad[2] = choose(*works, allWorks)
	return o, errors.Join(bad[:]...)
}

// choose returns those of all that the list names, in the order of all.
func choose(list string, all []string) ([]string, error) {
	var out []string
	names := strings.Split(list, ",")
	for _, n := range names {
		if n != "" && !slices.Contains(all, n) {
			return nil, fmt.Errorf("there is no %q: use %s", n, strings.Join(all, ","))
		}
	}
	for _, a := range all {
		if slices.Contains(names, a) {
			out = append(out, a)
		}
	}
	return out, nil
}

func save(file string, r *report) error {
	if file == "" {
		return nil
	}
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(text, '\n'), 0o644)
}

func progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", args...)
}

// run measures the machine, then each server with each store. What was measured
// before an error is in the report.
func run(ctx context.Context, o options) (*report, error) {
	dir, err := os.MkdirTemp("", "bench-xmpp-")
	if err != nil {
		return nil, err
	}
	if o.keep {
		progress("files stay in %s", dir)
	} else {
		defer os.RemoveAll(dir)
	}
	began := time.Now()
	r := &report{Began: began.UTC().Format(time.RFC3339), Window: o.window, BodyBytes: bodyBytes, Versions: versions(o.servers)}
	defer func() { r.Seconds = time.Since(began).Seconds() }()
	progress("the machine: syncs and waking")
	if r.Machine, err = measureMachine(ctx, dir, o.quiet); err != nil {
		return r, err
	}
	if err := raiseFiles(); err != nil {
		return r, err
	}
	names, err := newNames()
	if err != nil {
		return r, err
	}
	defer names.close()
	for _, store := range o.stores {
		for _, server := range o.servers {
			if err := measure(ctx, o, r, names, setting{server, store, fmt.Sprintf("%s/%s-%s", dir, server, store)}); err != nil {
				return r, fmt.Errorf("%s with %s: %w", server, store, err)
			}
		}
	}
	return r, nil
}

// setting is one server software with one store, in a directory of its own.
type setting struct{ server, store, dir string }

func measure(ctx context.Context, o options, r *report, names *names, s setting) error {
	st, err := newStage(ctx, s, names)
	if err != nil {
		return err
	}
	defer st.close()
	for _, work := range o.works {
		if work == "fan" && s.store != o.stores[0] {
			continue
		}
		w, err := st.work(ctx, work, o)
		if ctx.Err() != nil {
			return fmt.Errorf("%s: %w", work, ctx.Err())
		}
		if err != nil {
			return fmt.Errorf("%s: %w%s", work, err, st.logs())
		}
		w.Server, w.Store = s.server, s.store
		r.Works = append(r.Works, *w)
	}
	return nil
}
