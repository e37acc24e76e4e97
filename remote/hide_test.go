package remote

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"chatfs/internal/entity"
)

// TestEchoedSecretsAreHiddenInPieces: a service that says a token or password
// again, whole, cut, turned into another form or among controls, has no part of
// it told in an error.
func TestEchoedSecretsAreHiddenInPieces(t *testing.T) {
	secret := `Zq8/w+Rk"3jT<v0xP=&9bLm`
	pieces := func(form string) (list []string) {
		for i := 0; i+8 <= len(form); i += 4 {
			list = append(list, form[i:i+8])
		}
		return list
	}
	b64, hexed := base64.StdEncoding.EncodeToString([]byte(secret)), hex.EncodeToString([]byte(secret))
	for _, echo := range []struct{ code, text, form string }{
		{"bad", "no " + secret + " here", secret},
		{secret[:11], secret[11:], secret},
		{"bad", secret[:9] + "\x1b[31m" + secret[9:] + "\x1b[0m", secret},
		{"bad", secret[:7] + strings.Repeat(" ", 270) + secret[2:], secret},
		{"bad", strings.Repeat("x", 295) + secret, secret},
		{"bad", "value=" + url.QueryEscape(secret), url.QueryEscape(secret)},
		{"bad", "Basic " + b64, b64},
		{"bad", "0x" + hexed, hexed},
		{"bad", strings.Repeat("y", 1<<20-200) + secret, secret},
	} {
		body, err := json.Marshal(map[string]string{"error": echo.code, "error_description": echo.text})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []*Client{{Config: Config{Password: entity.NewSecret(secret)}}, {Config: Config{ClientSecret: entity.NewSecret(secret)}}, {}} {
			req, _ := http.NewRequest(http.MethodGet, "https://a1.example.com/org/app/chatfiles", nil)
			if c.Password.IsZero() && c.ClientSecret.IsZero() {
				req.Header.Set("Authorization", "Bearer "+secret)
			}
			shown := (&exchange{client: c, req: req, resp: say(http.StatusBadRequest, string(body))}).failure().Error()
			for _, piece := range pieces(echo.form) {
				if strings.Contains(shown, piece) {
					t.Errorf("%.60q is told as %q, with %q", body, shown, piece)
				}
			}
		}
	}
	if got := hide("file must be provided: 404 entity_not_found", secret); got != "file must be provided: 404 entity_not_found" {
		t.Errorf("harmless words become %q", got)
	}
}
