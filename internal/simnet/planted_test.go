//go:build plantedbugs

package simnet

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// planted is a bug put into a copy of the sources: the simulator has to find it.
type planted struct {
	name  string
	edits []edit
}

// edit replaces a piece of a file that occurs exactly once.
type edit struct{ file, old, new string }

var bugs = []planted{
	{"the hub answers before the entry is durable", []edit{{"internal/hub/hub.go",
		"return keepLinks(tx, r.state, &next, next.LastTimestamp)\n\t})\n",
		"return keepLinks(tx, r.state, &next, next.LastTimestamp)\n\t})\n\tif errors.Is(err, store.ErrUnknownOutcome) {\n\t\terr = nil\n\t}\n"}}},
	{"the hub does not look for repeats", []edit{{"internal/hub/write.go",
		"if errors.Is(err, store.ErrNotFound) || err == nil && !w.answers.repeats(entry) {",
		"if errors.Is(err, store.ErrNotFound) || err == nil {"}}},
	{"a repeat gets the time of the repeat", []edit{{"internal/hub/write.go",
		"answer, err = again(w.answers, entry)",
		"entry.Timestamp = w.hub.nowMS()\n\tanswer, err = again(w.answers, entry)"}}},
	{"timestamps follow the clock", []edit{{"internal/room/step.go",
		"return max(nowMS, s.LastTimestamp+1)", "return nowMS"}}},
	{"messages of an epoch that is over are accepted", []edit{{"internal/room/submit.go",
		"case m.Epoch < s.group.Epoch() && !s.", "case m.Epoch+2 < s.group.Epoch() && !s."}}},
	{"a follower's queue goes on after its last member left", []edit{{"internal/hub/followers.go",
		"f.Until = seq\n", "_ = seq\n"}}},
	{"a batch on its way grows when it is repeated", []edit{
		{"internal/fanout/batch.go", "q.entries(tx, s.Acked, s.Sent, math.MaxInt, math.MaxInt)",
			"q.entries(tx, s.Acked, math.MaxUint64, int(s.Sent-s.Acked)+1, math.MaxInt)"},
		{"internal/fanout/batch.go", "if err == nil && (b == nil || b.pos.Seq != s.Sent) {", "if err == nil && b == nil {"}}},
	{"silence of a follower counts as its acknowledgement", []edit{{"internal/fanout/queue.go",
		"return false, &sendError{err}\n", "if refusal(err) != nil {\n\t\t\treturn false, &sendError{err}\n\t\t}\n"}}},
	{"a Welcome is dropped though nobody took it", []edit{{"internal/fanout/queue.go",
		"return false, &sendError{err}\n", "if !b.welcome {\n\t\t\treturn false, &sendError{err}\n\t\t}\n"}}},
	{"a passing failure of a follower parks its queue", []edit{{"internal/fanout/fanout.go",
		"p.Status >= 400 && !p.Retryable()", "p.Status >= 400"}}},
	{"backoff grows without end", []edit{
		{"internal/backoff/backoff.go", "if failures <= 12 {", "if failures <= 30 {"},
		{"internal/backoff/backoff.go", "upper = min(Cap, Base<<(failures-1))", "upper = Base << (failures - 1)"}}},
	{"a follower answers before the entries are stored", []edit{{"internal/follower/notify.go",
		"if err := n.write(ctx); err != nil {\n\t\treturn err\n\t}", "if err := n.write(ctx); err != nil {\n\t\treturn nil\n\t}"}}},
	{"a follower forgets who takes part", []edit{{"internal/record/record.go",
		"Participants: eff.Participants,", "Participants: nil,"}}},
	{"the outbox starts empty", []edit{{"internal/follower/outbox.go",
		"o.put(&page[i], true)\n\t\t\tafter = page[i].ID", "after = page[i].ID"}}},
	{"the outbox sends the newest first", []edit{{"internal/follower/outbox.go",
		"slices.Insert(l.items, i, it)", "slices.Insert(l.items, 0*i, it)"}}},
	{"a passing failure of the hub rejects a write", []edit{{"internal/follower/outcome.go",
		"p.Status >= 400 && !p.Retryable()", "p.Status >= 400"}}},
	{"a write counts as posted when the hub says so", []edit{{"internal/follower/await.go",
		"s.Accepted, s.LastError = a.accepted, \"\"\n", "s.Accepted, s.LastError, s.State = a.accepted, \"\", store.Posted\n"}}},
	{"a hub on an old database does not ask its followers", []edit{{"internal/hub/reconcile.go",
		"if heads.pos.Seq <= r.state.Pos.Seq {", "if heads.pos.Seq <= r.state.Pos.Seq || !lost {"}}},
	{"a KeyPackage stays in stock", []edit{{"internal/store/sqlstore/keypackages.go",
		"claimed_by = $2, body = $3 WHERE id = $4", "claimed_by = $2, claimed_at = 0*length($3) WHERE id = $4"}}},
}

var (
	failedSeed = regexp.MustCompile(`seed (\d+), event (\d+): (.*)`)
	noSeed     = errors.New("no seed found it")
)

// TestPlanted builds the simulator with each bug and plays until a seed fails.
// Nothing but a violation counts: a build that fails, a hang or a panic do not.
func TestPlanted(t *testing.T) {
	root := moduleRoot(t)
	for _, b := range bugs {
		t.Run(strings.ReplaceAll(b.name, " ", "-"), func(t *testing.T) {
			out, err := b.hunt(t, root)
			m := failedSeed.FindStringSubmatch(out)
			if m == nil {
				t.Fatalf("%s: %v\n%s", b.name, err, ending(out))
			}
			t.Logf("%s: seed %s, event %s: %s", b.name, m[1], m[2], m[3])
		})
	}
}

// hunt runs the seeds against the sources with the bug in them.
func (b planted) hunt(t *testing.T, root string) (string, error) {
	dir := t.TempDir()
	overlay, err := b.overlay(root, dir)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	bin := filepath.Join(dir, "simnet.test")
	build := exec.CommandContext(ctx, "go", "test", "-c", "-overlay", overlay, "-o", bin, "./internal/simnet")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building: %v\n%s", err, out)
	}
	play := exec.CommandContext(ctx, bin, "-test.run", "TestSeeds", "-test.timeout", "4m", "-stop", "-seeds", "100", "-events", "600")
	play.Dir = filepath.Join(root, "internal", "simnet")
	out, err := play.CombinedOutput()
	if err == nil {
		err = noSeed
	}
	return string(out), err
}

// overlay writes the changed files and the list that has the go command read
// them in place of the real ones.
func (b planted) overlay(root, dir string) (string, error) {
	texts := map[string]string{}
	for _, e := range b.edits {
		path := filepath.Join(root, filepath.FromSlash(e.file))
		text, known := texts[path]
		if !known {
			raw, err := os.ReadFile(path)
			if err != nil {
				return "", err
			}
			text = string(raw)
		}
		if strings.Count(text, e.old) != 1 {
			return "", errors.New(e.file + " has changed: this must occur in it once, adapt the planted bug:\n" + e.old)
		}
		texts[path] = strings.Replace(text, e.old, e.new, 1)
	}
	list := struct{ Replace map[string]string }{map[string]string{}}
	for path, text := range texts {
		copied := filepath.Join(dir, strings.ReplaceAll(strings.TrimPrefix(path, root), string(filepath.Separator), "_"))
		if err := os.WriteFile(copied, []byte(text), 0o600); err != nil {
			return "", err
		}
		list.Replace[path] = copied
	}
	raw, err := json.Marshal(list)
	if err != nil {
		return "", err
	}
	name := filepath.Join(dir, "overlay.json")
	return name, os.WriteFile(name, raw, 0o600)
}

func moduleRoot(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	for err == nil {
		if _, e := os.Stat(filepath.Join(dir, "go.mod")); e == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			break
		}
		dir = filepath.Dir(dir)
	}
	t.Fatal("no go.mod above the working directory")
	return ""
}

func ending(s string) string { return s[max(0, len(s)-3000):] }
