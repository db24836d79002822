package storetest

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"hubbub/internal/store"
	"hubbub/mimi"
)

var clientChecks = []check{
	{"Users", testUsers},
	{"EnrolRoundTrip", testEnrol},
	{"EnrolSpendsTheCode", testEnrolOnce},
	{"EnrolRace", testEnrolRace},
	{"EnrolRefusals", testEnrolRefused},
	{"Meta", testMeta},
}

var code = sha256.Sum256([]byte("code"))

func client(uri mimi.ClientURI, user mimi.UserURI) store.Client {
	return store.Client{URI: uri, User: user, TokenHash: sha256.Sum256([]byte(uri)), SignatureKey: []byte("key of " + uri),
		Certificates: [][]byte{[]byte("leaf"), {}, make([]byte, 300)}, CreatedAt: noon}
}

func (f *suite) user(user mimi.UserURI) {
	f.Helper()
	f.update(func(tx store.Tx) error { return tx.CreateUser(user, noon) })
}

func testUsers(f *suite) {
	f.equal("users", []mimi.UserURI{}, get(f, func(tx store.ReadTx) ([]mimi.UserURI, error) { return tx.Users() }))
	f.user(bob)
	f.user(alice)
	f.refused(store.ErrExists, func(tx store.Tx) error { return tx.CreateUser(alice, noon.Add(time.Hour)) })
	f.equal("users", []mimi.UserURI{alice, bob}, get(f, func(tx store.ReadTx) ([]mimi.UserURI, error) { return tx.Users() }))
	f.equal("clients", []store.Client{}, clientsOf(f, alice))
	missing(f, func(tx store.ReadTx) ([]store.Client, error) { return tx.ClientsOfUser(cathy) })
}

func clientsOf(f *suite, user mimi.UserURI) []store.Client {
	f.Helper()
	return get(f, func(tx store.ReadTx) ([]store.Client, error) { return tx.ClientsOfUser(user) })
}

func testEnrol(f *suite) {
	f.user(alice)
	for _, uri := range []mimi.ClientURI{phone, laptop} {
		f.update(func(tx store.Tx) error { return tx.PutEnrolment(code, alice, noon.Add(time.Hour)) })
		f.update(func(tx store.Tx) error { return tx.Enrol(code, client(uri, alice), noon) })
	}
	f.reopen()
	want := client(phone, alice)
	f.equal("by URI", &want, get(f, func(tx store.ReadTx) (*store.Client, error) { return tx.Client(phone) }))
	f.equal("by token", &want, get(f, func(tx store.ReadTx) (*store.Client, error) { return tx.ClientByToken(want.TokenHash) }))
	f.equal("of the user", []store.Client{client(laptop, alice), want}, clientsOf(f, alice))
	missing(f, func(tx store.ReadTx) (*store.Client, error) { return tx.ClientByToken([32]byte{}) })
	missing(f, func(tx store.ReadTx) (*store.Client, error) { return tx.Client("mimi://a.localhost/d/alice/x") })
}

func testEnrolOnce(f *suite) {
	f.user(alice)
	f.update(func(tx store.Tx) error { return tx.PutEnrolment(code, alice, noon.Add(time.Hour)) })
	f.update(func(tx store.Tx) error { return tx.Enrol(code, client(phone, alice), noon) })
	f.refused(store.ErrNotFound, func(tx store.Tx) error { return tx.Enrol(code, client(laptop, alice), noon) })
	// A taken URI does not cost the code.
	f.update(func(tx store.Tx) error { return tx.PutEnrolment(code, alice, noon.Add(time.Hour)) })
	f.refused(store.ErrExists, func(tx store.Tx) error { return tx.Enrol(code, client(phone, alice), noon) })
	f.update(func(tx store.Tx) error { return tx.Enrol(code, client(laptop, alice), noon) })
}

func testEnrolRace(f *suite) {
	f.user(alice)
	f.update(func(tx store.Tx) error { return tx.PutEnrolment(code, alice, noon.Add(time.Hour)) })
	var wins atomic.Int64
	var wg sync.WaitGroup
	for g := range 32 {
		wg.Go(func() {
			uri := mimi.ClientURI(fmt.Sprint("mimi://a.localhost/d/alice/", g))
			err := f.s.Update(context.Background(), func(tx store.Tx) error { return tx.Enrol(code, client(uri, alice), noon) })
			if err == nil {
				wins.Add(1)
			} else if !errors.Is(err, store.ErrNotFound) {
				f.Error(err)
			}
		})
	}
	wg.Wait()
	f.equal("winners", int64(1), wins.Load())
	f.equal("clients", 1, len(clientsOf(f, alice)))
}

func testEnrolRefused(f *suite) {
	f.user(alice)
	f.user(bob)
	f.refused(store.ErrNotFound, func(tx store.Tx) error { return tx.PutEnrolment(code, cathy, noon) })
	f.update(func(tx store.Tx) error { return tx.PutEnrolment(code, alice, noon.Add(time.Hour)) })
	for name, fn := range map[string]func(store.Tx) error{
		"unknown code": func(tx store.Tx) error { return tx.Enrol([32]byte{}, client(phone, alice), noon) },
		"another user": func(tx store.Tx) error { return tx.Enrol(code, client(phone, bob), noon) },
		"at the end":   func(tx store.Tx) error { return tx.Enrol(code, client(phone, alice), noon.Add(time.Hour)) },
		"too late":     func(tx store.Tx) error { return tx.Enrol(code, client(phone, alice), noon.Add(2*time.Hour)) },
	} {
		f.Log(name)
		f.refused(store.ErrNotFound, fn)
	}
	f.update(func(tx store.Tx) error { return tx.Enrol(code, client(phone, alice), noon) })
	// Two clients never share a token.
	f.update(func(tx store.Tx) error { return tx.PutEnrolment(code, alice, noon.Add(time.Hour)) })
	twin := client(laptop, alice)
	twin.TokenHash = client(phone, alice).TokenHash
	f.refused(store.ErrExists, func(tx store.Tx) error { return tx.Enrol(code, twin, noon) })
}

func testMeta(f *suite) {
	missing(f, func(tx store.ReadTx) ([]byte, error) { return tx.Meta("key") })
	for _, value := range []string{"one", "", "two"} {
		f.update(func(tx store.Tx) error { return tx.PutMeta("key", []byte(value)) })
		must(f, wantMeta(f.s, "key", value))
	}
	f.update(func(tx store.Tx) error { return tx.PutMeta("key", nil) })
	must(f, wantMeta(f.s, "key", ""))
	f.update(func(tx store.Tx) error { return errors.Join(tx.DeleteMeta("key"), tx.DeleteMeta("none")) })
	missing(f, func(tx store.ReadTx) ([]byte, error) { return tx.Meta("key") })
}

var keyPackageChecks = []check{
	{"ClaimOldestThatFits", testClaim},
	{"ClaimValidity", testClaimValidity},
	{"ClaimAtMostOnce", testClaimRace},
	{"ClaimUndone", testClaimUndone},
	{"PutKeyPackagesAllOrNone", testPutKeyPackages},
	{"Route", testRoute},
}

func keyPackage(client mimi.ClientURI, ref string) store.KeyPackage {
	return store.KeyPackage{Ref: []byte(ref), Client: client, User: alice, Suite: 1,
		NotBefore: noon.Add(-time.Hour), NotAfter: noon.Add(time.Hour), Body: []byte("package " + ref)}
}

func (f *suite) publish(kps ...store.KeyPackage) {
	f.Helper()
	f.update(func(tx store.Tx) error { return tx.PutKeyPackages(kps) })
}

func anyPackage(store.KeyPackage) bool { return true }

// claim returns the reference of what was claimed, "" for nothing.
func (f *suite) claim(client mimi.ClientURI, now time.Time, accept func(store.KeyPackage) bool) (ref string, stock bool) {
	f.Helper()
	err := f.s.Update(context.Background(), func(tx store.Tx) error {
		kp, some, err := tx.ClaimKeyPackage(client, now, "tester", accept)
		stock = some
		if err == nil {
			ref = string(kp.Ref)
			if want := keyPackage(client, ref); string(kp.Body) != string(want.Body) || kp.User != want.User ||
				kp.Suite != want.Suite || !kp.NotAfter.Equal(want.NotAfter) || !kp.NotBefore.Equal(want.NotBefore) {
				return fmt.Errorf("claimed %+v", kp)
			}
		}
		return err
	})
	if (err == nil) != (ref != "") || err != nil && !errors.Is(err, store.ErrNotFound) {
		f.Fatalf("claim of %q: %v", ref, err)
	}
	return ref, stock
}

func testClaim(f *suite) {
	f.publish(keyPackage(phone, "z"), keyPackage(phone, "a"), keyPackage(laptop, "l"), keyPackage(phone, "m"))
	count := func() int {
		return get(f, func(tx store.ReadTx) (int, error) { return tx.KeyPackageCount(phone, noon) })
	}
	f.equal("stock", 3, count())
	for _, c := range []struct {
		want   string
		stock  bool
		accept func(store.KeyPackage) bool
	}{
		{"a", true, func(kp store.KeyPackage) bool { return string(kp.Ref) != "z" }},
		{"", true, func(kp store.KeyPackage) bool { return kp.Suite == 2 }},
		{"z", true, anyPackage},
		{"m", true, anyPackage},
		{"", false, anyPackage},
	} {
		ref, stock := f.claim(phone, noon, c.accept)
		if ref != c.want || stock != c.stock {
			f.Errorf("claimed %q (%v), want %q (%v)", ref, stock, c.want, c.stock)
		}
	}
	f.equal("stock", 0, count())
	owner := get(f, func(tx store.ReadTx) (mimi.ClientURI, error) { return tx.KeyPackageClient([]byte("a")) })
	f.equal("owner of a claimed package", phone, owner)
	owner = get(f, func(tx store.ReadTx) (mimi.ClientURI, error) { return tx.KeyPackageClient([]byte("l")) })
	f.equal("owner of a package in stock", laptop, owner)
	missing(f, func(tx store.ReadTx) (mimi.ClientURI, error) { return tx.KeyPackageClient([]byte("x")) })
	f.refused(store.ErrExists, func(tx store.Tx) error { return tx.PutKeyPackages([]store.KeyPackage{keyPackage(phone, "a")}) })
}

func testClaimValidity(f *suite) {
	forever := keyPackage(phone, "forever")
	forever.NotAfter = time.Unix(math.MaxInt64, 0)
	f.publish(keyPackage(phone, "soon"))
	for _, at := range []time.Time{noon.Add(-2 * time.Hour), noon.Add(2 * time.Hour)} {
		if ref, stock := f.claim(phone, at, anyPackage); ref != "" || stock {
			f.Errorf("claimed %q (%v) at %s", ref, stock, at)
		}
	}
	count := func(at time.Time) int {
		return get(f, func(tx store.ReadTx) (int, error) { return tx.KeyPackageCount(phone, at) })
	}
	f.equal("expired ones do not count", 0, count(noon.Add(2*time.Hour)))
	f.publish(forever)
	f.equal("one lasts", 1, count(noon.Add(2*time.Hour)))
	f.equal("both", 2, count(noon))
}

func testClaimRace(f *suite) {
	const packages = 40
	for i := range packages {
		f.publish(keyPackage(phone, fmt.Sprint("ref", i)))
	}
	var mu sync.Mutex
	claimed := make(map[string]int)
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			var ref string
			err := f.s.Update(context.Background(), func(tx store.Tx) error {
				kp, _, err := tx.ClaimKeyPackage(phone, noon, "tester", anyPackage)
				if err == nil {
					ref = string(kp.Ref)
				}
				return err
			})
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				claimed[ref]++
			} else if !errors.Is(err, store.ErrNotFound) {
				f.Error(err)
			}
		})
	}
	wg.Wait()
	f.equal("different packages", packages, len(claimed))
	for ref, n := range claimed {
		if n != 1 {
			f.Errorf("%s was claimed %d times", ref, n)
		}
	}
}

func testClaimUndone(f *suite) {
	f.publish(keyPackage(phone, "a"))
	f.refused(errTest, func(tx store.Tx) error {
		_, _, err := tx.ClaimKeyPackage(phone, noon, "tester", anyPackage)
		return errors.Join(err, errTest)
	})
	ref, _ := f.claim(phone, noon, anyPackage)
	f.equal("claimed", "a", ref)
	f.reopen()
	ref, _ = f.claim(phone, noon, anyPackage)
	f.equal("claimed after a restart", "", ref)
}

func testPutKeyPackages(f *suite) {
	f.publish(keyPackage(phone, "a"))
	put := func(refs ...string) func(store.Tx) error {
		return func(tx store.Tx) error {
			var kps []store.KeyPackage
			for _, ref := range refs {
				kps = append(kps, keyPackage(laptop, ref))
			}
			// What a caller does about the error must not matter.
			if err := tx.PutKeyPackages(kps); !errors.Is(err, store.ErrExists) {
				return fmt.Errorf("error = %v, want ErrExists", err)
			}
			return nil
		}
	}
	f.harmless(put("b", "a"))
	f.harmless(put("b", "c", "b"))
}

func testRoute(f *suite) {
	ref := []byte{1, 2}
	missing(f, func(tx store.ReadTx) (mimi.Domain, error) { return tx.Route(ref) })
	for _, peer := range []mimi.Domain{peerB, peerC} {
		f.update(func(tx store.Tx) error { return tx.PutRoute(ref, peer, noon) })
		f.equal("route", peer, get(f, func(tx store.ReadTx) (mimi.Domain, error) { return tx.Route(ref) }))
	}
}
