package bench

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"

	"hubbub/cmd/hubbub/internal/devenv"
)

// Usage is what one process used during a measurement. Where the system does not
// tell (Linux does, under /proc) everything is 0.
type Usage struct {
	Name       string  `json:"name"` // a, b, c, or load for the clients
	CPU        float64 `json:"cpu_seconds"`
	Reads      uint64  `json:"read_calls"`
	Writes     uint64  `json:"write_calls"`
	Written    uint64  `json:"written_bytes"` // to files and sockets
	ToDisk     uint64  `json:"disk_bytes"`    // that the file system has to write
	RSS        uint64  `json:"rss_bytes"`     // at the end
	Switches   uint64  `json:"context_switches"`
	PerMessage float64 `json:"cpu_us_per_message,omitempty"`
}

var usageHeading = []string{"PROCESS", "CPU s", "CPU µs/POST", "READS/POST", "WRITES/POST", "KB WRITTEN/POST", "SWITCHES/POST", "RSS MB"}

func (u Usage) row(posts int) []string {
	n := float64(max(1, posts))
	per := func(v float64) string { return fmt.Sprintf("%.2f", v/n) }
	return []string{u.Name, fmt.Sprintf("%.2f", u.CPU), fmt.Sprintf("%.0f", u.CPU*1e6/n), per(float64(u.Reads)), per(float64(u.Writes)),
		per(float64(u.Written) / 1000), per(float64(u.Switches)), fmt.Sprintf("%.0f", float64(u.RSS)/1e6)}
}

// since is what was used after before was taken, in a run of so many messages.
func (u Usage) since(before Usage, messages int) Usage {
	u.CPU -= before.CPU
	u.Reads -= before.Reads
	u.Writes -= before.Writes
	u.Written -= before.Written
	u.ToDisk -= before.ToDisk
	u.Switches -= before.Switches
	if messages > 0 {
		u.PerMessage = u.CPU * 1e6 / float64(messages)
	}
	return u
}

// ticksPerSecond is the unit of CPU times under /proc: USER_HZ, 100 on every
// Linux that Go runs on.
const ticksPerSecond = 100

// usageOf reads the counters of a process; pid 0 is this one.
func usageOf(name string, pid int) Usage {
	dir := "/proc/self/"
	if pid != 0 {
		dir = fmt.Sprintf("/proc/%d/", pid)
	}
	u := Usage{Name: name}
	stat, _ := os.ReadFile(dir + "stat")
	// The name of the program, in parentheses, may contain anything.
	if f := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:])); len(f) > 12 {
		user, _ := strconv.ParseFloat(f[11], 64)
		system, _ := strconv.ParseFloat(f[12], 64)
		u.CPU = (user + system) / ticksPerSecond
	}
	io := fields(dir + "io")
	u.Reads, u.Writes, u.Written, u.ToDisk = io["syscr"], io["syscw"], io["wchar"], io["write_bytes"]
	u.RSS = fields(dir + "status")["VmRSS"] << 10
	u.Switches = switches(dir)
	return u
}

// fields reads a file of lines "name: number".
func fields(file string) map[string]uint64 {
	text, _ := os.ReadFile(file)
	out := map[string]uint64{}
	for line := range strings.Lines(string(text)) {
		name, rest, _ := strings.Cut(line, ":")
		if f := strings.Fields(rest); len(f) > 0 {
			if n, err := strconv.ParseUint(f[0], 10, 64); err == nil {
				out[name] = n
			}
		}
	}
	return out
}

// switches adds up the voluntary context switches of all threads: most are waits
// for a disk, a peer or a lock.
func switches(dir string) (n uint64) {
	threads, _ := os.ReadDir(dir + "task")
	for _, t := range threads {
		n += fields(dir + "task/" + t.Name() + "/status")["voluntary_ctxt_switches"]
	}
	return n
}

// usages reads the counters of all running providers and of this process.
func usages(env *devenv.Env) []Usage {
	var out []Usage
	for _, s := range env.States() {
		if s.Running {
			out = append(out, usageOf(s.Name, s.PID))
		}
	}
	return append(out, usageOf("load", 0))
}

// usedSince pairs up two readings of the same processes.
func usedSince(before, after []Usage, messages int) []Usage {
	var out []Usage
	for _, u := range after {
		for _, b := range before {
			if b.Name == u.Name {
				out = append(out, u.since(b, messages))
			}
		}
	}
	return out
}

// measured adds to a part what the processes used during it.
func measured(st *stage, run func() (Part, error)) (Part, error) {
	before := usages(st.env)
	p, err := run()
	p.Processes = usedSince(before, usages(st.env), p.Delivered)
	return p, err
}
