package entity

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestUUIDHoldsItsTime(t *testing.T) {
	before := time.Now().Add(-time.Second)
	u, err := NewUUID()
	if err != nil {
		t.Fatal(err)
	}
	if got := u.Time(); got.Before(before) || got.After(time.Now().Add(time.Second)) {
		t.Errorf("Time() = %v, want about now", got)
	}
	back, err := ParseUUID(u.String())
	if err != nil || back != u {
		t.Errorf("ParseUUID(%q) = %v, %v", u, back, err)
	}
	for _, bad := range []string{"", "x", u.String() + "/..", strings.ReplaceAll(u.String(), "-", "")} {
		if _, err := ParseUUID(bad); err == nil {
			t.Errorf("ParseUUID(%q) took it", bad)
		}
	}
}

func TestSecretNeverPrints(t *testing.T) {
	e := Entity{Secret: NewSecret("hunter2")}
	js, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	shown := string(js) + fmt.Sprintf("%v %+v %#v %s %q %x %d", e, e, e, e.Secret, e.Secret, e.Secret, e.Secret)
	if strings.Contains(shown, "hunter2") || strings.Contains(shown, "68756e74657232") {
		t.Errorf("the secret shows in %s", shown)
	}
	if e.Secret.Reveal() != "hunter2" || !e.Restricted() {
		t.Error("the secret is lost")
	}
}
