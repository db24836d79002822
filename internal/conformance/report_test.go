package conformance

import (
	"encoding/json"
	"encoding/xml"
	"strings"
	"testing"
	"time"
)

var sampleResults = []Result{
	{ID: "TRN-1", What: "mutual TLS", Outcome: Pass, Probes: 2, Took: time.Millisecond},
	{ID: "TRN-3", What: "From", Outcome: Fail, Probes: 1, Failures: []Failure{{"From <missing>", "400", "200 \x1b[2J\x00"}}},
	{ID: "KM-3", What: "no room", Outcome: Skipped, Reason: "a user of the target (--user): not given"},
	{ID: "UPD-26", What: "clients", Outcome: NotApplicable, Reason: "is about clients"},
}

func TestReports(t *testing.T) {
	var text, doc, junit strings.Builder
	if err := WriteText(&text, sampleResults); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"fail            TRN-3", "From <missing>: expected 400, got 200 .[2J.", "1 pass, 1 fail, 1 skipped, 1 not applicable"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in:\n%s", want, text.String())
		}
	}
	if err := WriteJSON(&doc, "https://a.example", sampleResults); err != nil {
		t.Fatal(err)
	}
	var back struct {
		Counts  map[string]int
		Results []Result
	}
	if err := json.Unmarshal([]byte(doc.String()), &back); err != nil || back.Counts["fail"] != 1 || len(back.Results) != 4 {
		t.Errorf("%+v, %v", back, err)
	}
	if err := WriteJUnit(&junit, "https://a.example", sampleResults); err != nil {
		t.Fatal(err)
	}
	var s suite
	if err := xml.Unmarshal([]byte(junit.String()), &s); err != nil {
		t.Fatalf("%v in:\n%s", err, junit.String())
	}
	if s.Tests != 4 || s.Failures != 1 || s.Skipped != 2 || s.Cases[1].Failure == nil || s.Cases[0].Failure != nil || s.Cases[3].Skipped == nil {
		t.Errorf("%+v", s)
	}
}
