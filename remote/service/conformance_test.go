package service_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"image"
	_ "image/jpeg" // that thumbnails are read with
	"image/png"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"chatfs/remote/service"
)

// The commands below are those of the service's documents, with the hosts,
// names and ids of the test.

func photo(t *testing.T) []byte {
	t.Helper()
	img := image.NewNRGBA(image.Rect(0, 0, 340, 200))
	random := rand.New(rand.NewPCG(1, 2))
	for i := range img.Pix {
		img.Pix[i] = byte(random.Uint32()) | 1
	}
	for i := 3; i < len(img.Pix); i += 4 {
		img.Pix[i] = 255
	}
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestDocumentedCommands(t *testing.T) {
	f := start(t)
	content := photo(t)
	f.put("IMG_3.PNG", content)

	e := f.upload(`curl -sS -X POST $BASE/chatfiles -H "Authorization: Bearer $TOKEN" -H 'Content-Type: multipart/form-data; boundary=----WebKitFormBoundary7MA4YWxkTrZu0gW' -H 'restrict-access: true' -F file=@IMG_3.PNG`)
	if id, err := uuid.Parse(e.UUID); err != nil || id.Version() != 1 || e.Type != "chatfile" || len(e.Secret) != 48 {
		t.Errorf("uploaded: uuid %s, type %s, a secret of %d characters", e.UUID, e.Type, len(e.Secret))
	}
	f.sh(`curl -sS -f -X GET -H 'Accept: application/octet-stream' -H "Authorization: Bearer $TOKEN" -H "share-secret: $SECRET" $BASE/chatfiles/$UUID -o down`, e.env()...)
	if !bytes.Equal(f.get("down"), content) {
		t.Error("the download by header differs")
	}
	f.sh(`curl -sS -f -H "Authorization: Bearer $TOKEN" "$BASE/chatfiles/$UUID?share-secret=$SECRET&em-redirect=true" -o query`, e.env()...)
	if !bytes.Equal(f.get("query"), content) {
		t.Error("the download by query differs")
	}
	f.sh(`curl -sS -f -X GET -H 'Accept: application/octet-stream' -H "Authorization: Bearer $TOKEN" -H "share-secret: $SECRET" -H 'thumbnail: true' $BASE/chatfiles/$UUID -o thumb`, e.env()...)
	if c, form, err := image.DecodeConfig(bytes.NewReader(f.get("thumb"))); err != nil || c.Width != 170 || c.Height != 100 {
		t.Errorf("the thumbnail is a %s of %dx%d (%v), want 170x100", form, c.Width, c.Height, err)
	}

	open := f.upload(`curl -sS --header "Authorization: Bearer $TOKEN" --form file=@IMG_3.PNG $BASE/chatfiles`)
	if open.Secret != "" {
		t.Error("an unrestricted file has a share-secret")
	}
	f.sh(`curl -sS -f -H "Authorization: Bearer $TOKEN" $BASE/chatfiles/$UUID -o open`, open.env()...)
	if !bytes.Equal(f.get("open"), content) {
		t.Error("the unrestricted download differs")
	}
}

func TestUploadsAnswer(t *testing.T) {
	f := start(t)
	f.put("a.txt", []byte("text"))
	answer := f.json(`curl -sS -H "Authorization: Bearer $TOKEN" -F file=@a.txt $BASE/chatfiles`)
	want := map[string]any{"action": "post", "path": "/chatfiles", "uri": f.service.Base() + "/chatfiles", "organization": "org", "applicationName": "app"}
	for k, v := range want {
		if answer[k] != v {
			t.Errorf("%s is %v, want %v", k, answer[k], v)
		}
	}
	for _, k := range []string{"application", "timestamp", "duration"} {
		if answer[k] == nil {
			t.Errorf("%s is missing", k)
		}
	}
	other := f.json(`curl -sS -H "Authorization: Bearer $TOKEN" -H 'Host: a1.example.com' -F file=@a.txt $BASE/chatfiles`)
	if other["uri"] != "http://a1.example.com/org/app/chatfiles" {
		t.Errorf("uri is %v, want the request's Host", other["uri"])
	}
}

func TestUsersOfAnApp(t *testing.T) {
	f := start(t)
	answer := f.json(`curl -sS -X POST -H "Content-Type: application/json" -H "Authorization: Bearer $TOKEN" -d '{"username": "user1","password": "123"}' $BASE/users`)
	entities, _ := answer["entities"].([]any)
	if len(entities) != 1 || entities[0].(map[string]any)["username"] != "user1" || entities[0].(map[string]any)["activated"] != true {
		t.Fatalf("registered: %v", entities)
	}
	f.wantError("duplicate_unique_property_exists", 400, `-d '{"username": "user1","password": "123"}' $BASE/users`)
	f.wantError("illegal_argument", 400, `-d '{"username": "no/name","password": "123"}' $BASE/users`)

	f.token = f.tokenFor(`{"grant_type": "password","username": "user1","password": "123", "ttl": ""}`)
	f.put("a.txt", []byte("text"))
	e := f.upload(`curl -sS -H "Authorization: Bearer $TOKEN" -H 'restrict-access: 1' -F file=@a.txt $BASE/chatfiles`)
	f.sh(`curl -sS -f -H "Authorization: Bearer $TOKEN" -H "share-secret: $SECRET" $BASE/chatfiles/$UUID -o down; cmp a.txt down`, e.env()...)
}

func TestTokensExpire(t *testing.T) {
	clock := newClock(time.Now())
	f := start(t, func(c *service.Config) { c.Now = clock.Now })
	id, secret := f.service.Credentials()
	f.token = f.tokenFor(`{"grant_type": "client_credentials", "client_id": "` + id + `", "client_secret": "` + secret.Reveal() + `", "ttl": 60}`)
	f.wantError("entity_not_found", 404, `$BASE/chatfiles/7f7ab7b0-e8e9-41f1-9e8d-be2744c260ab`)
	clock.add(61 * time.Second)
	f.wantError("auth_bad_access_token", 401, `$BASE/chatfiles/7f7ab7b0-e8e9-11f1-9e8d-be2744c260ab`)
}

// wantError runs curl with these arguments and the token, and wants an
// envelope of that code.
func (f *fixture) wantError(code string, status int, args string, env ...string) {
	f.Helper()
	out := f.sh(`curl -sS -w '\n%{http_code}' -H "Authorization: Bearer $TOKEN" `+args, env...)
	body, got, _ := strings.Cut(out, "\n\n")
	var envelope map[string]any
	if err := json.Unmarshal([]byte(body), &envelope); err != nil {
		f.Errorf("%s\nanswers no envelope: %v\n%s", args, err, out)
		return
	}
	if envelope["error"] != code || got != jsonNumber(status) {
		f.Errorf("%s\nanswers %s %v, want %d %s", args, got, envelope["error"], status, code)
	}
	for _, k := range []string{"error_description", "timestamp", "duration"} {
		if envelope[k] == nil {
			f.Errorf("%s\nhas no %s", args, k)
		}
	}
}

func jsonNumber(n int) string { b, _ := json.Marshal(n); return string(b) }

func TestErrorsOfTheTable(t *testing.T) {
	clock := newClock(time.Now())
	f := start(t, func(c *service.Config) {
		c.MaxSize, c.ExpireAfter, c.Now = 1000, time.Hour, clock.Now
	})
	f.put("a.txt", []byte("text"))
	f.put("large", make([]byte, 1001))
	f.put("most", make([]byte, 1000))
	e := f.upload(`curl -sS -H "Authorization: Bearer $TOKEN" -H 'restrict-access: true' -F file=@most $BASE/chatfiles`)
	f.wantError("illegal_argument", 400, `-F other=text $BASE/chatfiles`)
	f.wantError("illegal_argument", 400, `--data-binary 'no form' -H 'Content-Type: multipart/form-data; boundary=none' $BASE/chatfiles`)
	f.wantError("web_application", 415, `-d file=text $BASE/chatfiles`)
	f.wantError("file exceeding maximum limit", 413, `-F file=@large $BASE/chatfiles`)
	f.wantError("entity_not_found", 404, `$BASE/chatfiles/7f7ab7b0-e8e9-41f1-9e8d-be2744c260ab`)
	f.wantError("entity_not_found", 404, `$BASE/chatfiles/..%2f..%2fcredentials.json`)
	f.wantError("service_resource_not_found", 404, `$BASE/nonsense`)
	f.wantError("organization_application_not_found", 404, `${BASE%app}other/chatfiles/7f7ab7b0-e8e9-11f1-9e8d-be2744c260ab`)
	f.wantError("forbidden", 403, `$BASE/chatfiles/$UUID`, e.env()...)
	f.wantError("forbidden", 403, `-H 'share-secret: wrong' $BASE/chatfiles/$UUID`, e.env()...)
	f.wantError("invalid_grant", 400, `-d '{"grant_type": "client_credentials","client_id": "no","client_secret": "no"}' $BASE/token`)
	f.wantError("invalid_grant", 400, `-d '{"grant_type": "password","username": "no","password": "no"}' $BASE/token`)
	f.wantError("forbidden_op", 403, `-X PUT -d '{"lifetime":"forever","chatfile_ids":[]}' $BASE/users/user1/chatfiles/lifetime`)
	clock.add(time.Hour + time.Second)
	f.wantError("file_expired", 404, `-H "share-secret: $SECRET" $BASE/chatfiles/$UUID`, e.env()...)

	token := f.token
	for _, f.token = range []string{"", "YWMtwrong"} {
		code := map[bool]string{true: "unauthorized", false: "auth_bad_access_token"}[f.token == ""]
		f.wantError(code, 401, `-F file=@a.txt $BASE/chatfiles`)
		f.wantError(code, 401, `$BASE/chatfiles/$UUID`, e.env()...)
		f.wantError(code, 401, `$BASE/chatmessages/2026010100`)
	}
	f.token = token
}

func TestThrottledApp(t *testing.T) {
	f := start(t, func(c *service.Config) { c.RPS = 3 })
	f.put("a.txt", []byte("text"))
	f.upload(`curl -sS -H "Authorization: Bearer $TOKEN" -F file=@a.txt $BASE/chatfiles`)
	// One curl, as many of them may not come to three a second.
	out := f.sh(`curl -sS -w '%{http_code} ' -o /dev/null -H "Authorization: Bearer $TOKEN" $BASE/chatfiles/[1-300]`)
	if !strings.Contains(out, "429") || !strings.Contains(out, "404") {
		t.Errorf("300 requests, with 3 a second let through: %s", out)
	}
}

func TestWhatRealClientsSend(t *testing.T) {
	f := start(t)
	f.put("a.txt", []byte("text"))
	for name, args := range map[string]string{
		"two boundaries":      `-H 'Content-Type: multipart/form-data; boundary=X' -F file=@a.txt`,
		"parts before":        `-F filename=a.txt -F thumbnail-width=100 -F file=@a.txt`,
		"parts behind":        `-F file=@a.txt -F thumbnail-height=100 -F filename=a.txt`,
		"raw UTF-8 name":      `-F 'file=@a.txt;filename=фото 照片.jpg'`,
		"a path for a name":   `-F 'file=@a.txt;filename=C:\Users\test\a.jpg'`,
		"no name":             `-F 'file=<a.txt'`,
		"unknown parameters":  `-F file=@a.txt "$BASE/chatfiles?chat-type=chat&chat-target=u2"`,
		"an odd restriction":  `-H 'restrict-access: 1' -F file=@a.txt`,
		"thumbnail's headers": `-H 'thumbnail-width: 100' -H 'thumbnail-height: 100' -F file=@a.txt`,
		"chunked":             `-H 'Transfer-Encoding: chunked' -F file=@a.txt`,
	} {
		t.Run(name, func(t *testing.T) {
			g := *f
			g.T = t
			if !strings.Contains(args, "$BASE") {
				args += ` $BASE/chatfiles`
			}
			e := g.upload(`curl -sS -H "Authorization: Bearer $TOKEN" ` + args)
			g.sh(`curl -sS -f -H 'Accept: application/json' -H "Authorization: Bearer $TOKEN" -H "share-secret: $SECRET" $BASE/chatfiles/$UUID -o down; cmp a.txt down`, e.env()...)
		})
	}
	if e := f.upload(`curl -sS -H "Authorization: Bearer $TOKEN" -H 'restrict-access: false' -F file=@a.txt $BASE/chatfiles`); e.Secret == "" {
		t.Error("restrict-access: false restricts nothing")
	}
}

func TestOddTokenRequests(t *testing.T) {
	f := start(t)
	id, secret := f.service.Credentials()
	f.put("grant.json", []byte(`{"grant_type":"client_credentials","client_id":"`+id+`","client_secret":"`+secret.Reveal()+`","ttl":""}`))
	for _, args := range []string{
		`-d @grant.json`, // as form-urlencoded
		`-H 'Content-Type: application/json' -H 'Transfer-Encoding: chunked' -d @grant.json`,
		`-H 'Authorization: Bearer ' -d @grant.json`,
	} {
		if token, _ := f.json(`curl -sS ` + args + ` $BASE/token`)["access_token"].(string); token == "" {
			t.Errorf("%s: no token", args)
		}
	}
}

func TestPreflight(t *testing.T) {
	f := start(t, func(c *service.Config) { c.Origins = []string{"*"} })
	out := strings.ToLower(f.sh(`curl -sS -i -X OPTIONS -H 'Origin: https://chat.example.com' -H 'Access-Control-Request-Method: POST' -H 'Access-Control-Request-Headers: authorization,restrict-access' $BASE/chatfiles`))
	for _, want := range []string{"access-control-allow-origin: *", "share-secret", "restrict-access", "thumbnail-height", "x-requested-with", " 200 "} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

func TestLifetimeWhereItIsBought(t *testing.T) {
	clock := newClock(time.Now())
	f := start(t, func(c *service.Config) {
		c.Lifetime, c.ExpireAfter, c.Now = true, time.Hour, clock.Now
	})
	f.json(`curl -sS -d '{"username": "user1","password": "123"}' $BASE/users`)
	f.token = f.tokenFor(`{"grant_type": "password","username": "user1","password": "123"}`)
	f.put("a.txt", []byte("text"))
	e := f.upload(`curl -sS -H "Authorization: Bearer $TOKEN" -F file=@a.txt $BASE/chatfiles`)
	const unknown = "7f7ab7b0-e8e9-11f1-9e8d-be2744c260ab"
	answer := f.json(`curl -sS -X PUT -H "Authorization: Bearer $TOKEN" -d '{"lifetime":"forever","chatfile_ids":["'$UUID'","`+unknown+`"]}' $BASE/users/user1/chatfiles/lifetime`, e.env()...)
	data, _ := answer["data"].(map[string]any)
	if data[e.UUID] != "success" || data[unknown] != "failed" {
		t.Errorf("answer: %v", data)
	}
	clock.add(2 * time.Hour)
	f.sh(`curl -sS -f -H "Authorization: Bearer $TOKEN" $BASE/chatfiles/$UUID -o down; cmp a.txt down`, e.env()...)
	f.wantError("forbidden_op", 403, `-X PUT -d '{"lifetime":"forever","chatfile_ids":[]}' $BASE/users/user2/chatfiles/lifetime`)
}

// TestHistoryHasWhatWasSent posts a message with a file and finds it in the
// hour's file, as whoever learns of files by the history does.
func TestHistoryHasWhatWasSent(t *testing.T) {
	clock := newClock(time.Date(2026, 3, 4, 5, 30, 0, 0, time.UTC))
	f := start(t, func(c *service.Config) { c.Now, c.HistoryRPM = clock.Now, 6 })
	f.put("a.txt", []byte("text"))
	e := f.upload(`curl -sS -H "Authorization: Bearer $TOKEN" -H 'restrict-access: true' -F file=@a.txt $BASE/chatfiles`)
	answer := f.json(`curl -sS -X POST $BASE/messages/users -H 'Content-Type: application/json' -H 'Accept: application/json' -H "Authorization: Bearer $TOKEN" \
-d '{"from": "user1","to": ["user2","user3"],"type": "img","body": {"filename":"testimg.jpg","secret":"'$SECRET'","url":"'$BASE'/chatfiles/'$UUID'?em-redirect=true","size":{"width": 480,"height": 720}}}'`, e.env()...)
	if data, _ := answer["data"].(map[string]any); len(data) != 2 || data["user2"] == data["user3"] {
		t.Errorf("sent: %v", data)
	}
	f.sh(`curl -sS -f -X POST $BASE/messages/chatgroups -H "Authorization: Bearer $TOKEN" -d '{"to": ["g1"],"type": "txt","body": {"msg":"words"}}'`)
	f.wantError("illegal_argument", 400, `-d '{"to": [],"type": "txt","body": {}}' $BASE/messages/users`)
	f.wantError("illegal_argument", 400, `-d '{"to": ["user2"],"type": "img","body": {}}' $BASE/messages/users`)

	f.wantError("storage_object_not_found", 404, `$BASE/chatmessages/2026030406`)
	f.wantError("illegal_argument", 400, `$BASE/chatmessages/yesterday`)
	url := f.historyURL("2026030405")
	records := f.historyFile(url)
	if len(records) != 3 {
		t.Fatalf("%d records, want 3", len(records))
	}
	first, group := records[0], records[2]
	body := first.Payload.Bodies[0]
	if first.Timestamp != clock.Now().UnixMilli() || first.From != "user1" || first.ChatType != "chat" || first.Payload.To != first.To || first.ID == records[1].ID {
		t.Errorf("record of %s to %s at %d", first.From, first.To, first.Timestamp)
	}
	if body["type"] != "img" || body["secret"] != e.Secret || body["filename"] != "testimg.jpg" || body["file_length"] != 4.0 {
		t.Errorf("a body of %d fields, type %v, length %v", len(body), body["type"], body["file_length"])
	}
	if group.ChatType != "groupchat" || group.To != "g1" || group.From != "admin" {
		t.Errorf("the group's record: a %s of %s to %s", group.ChatType, group.From, group.To)
	}

	f.wantError("forbidden", 403, `'`+strings.Replace(url, "signature=", "signature=0", 1)+`'`)
	clock.add(31 * time.Minute)
	f.wantError("forbidden", 403, `'`+url+`'`)
	clock.add(3 * 24 * time.Hour)
	f.wantError("storage_object_not_found", 404, `$BASE/chatmessages/2026030405`)
	f.sh(`for i in 1 2 3 4 5 6; do curl -sS -H "Authorization: Bearer $TOKEN" $BASE/chatmessages/2026030405; done`)
	f.wantError("reach_limit", 429, `$BASE/chatmessages/2026030405`)
	f.json(`curl -sS -d '{"username": "user1","password": "123"}' $BASE/users`)
	f.token = f.tokenFor(`{"grant_type": "password","username": "user1","password": "123"}`)
	f.wantError("unauthorized", 401, `$BASE/chatmessages/2026030405`)
}

func (f *fixture) historyURL(hour string) string {
	f.Helper()
	answer := f.json(`curl -sS -X GET $BASE/chatmessages/` + hour + ` -H 'Accept: application/json' -H "Authorization: Bearer $TOKEN"`)
	data, _ := answer["data"].([]any)
	if len(data) != 1 {
		f.Fatalf("the history of %s answers %v", hour, answer)
	}
	url, _ := data[0].(map[string]any)["url"].(string)
	return url
}

type historyRecord struct {
	ID                 string `json:"msg_id"`
	Timestamp          int64
	Direction          string
	From, To, ChatType string
	Payload            struct {
		Bodies   []map[string]any
		From, To string
	}
}

// UnmarshalJSON reads chat_type, too.
func (r *historyRecord) UnmarshalJSON(b []byte) error {
	type plain historyRecord
	v := struct {
		*plain
		ChatType *string `json:"chat_type"`
	}{(*plain)(r), &r.ChatType}
	return json.Unmarshal(b, &v)
}

// historyFile fetches a history's file without any credential.
func (f *fixture) historyFile(url string) (records []historyRecord) {
	f.Helper()
	f.sh(`curl -sS -f "$URL" -o history.gz`, "URL="+url)
	z, err := gzip.NewReader(bytes.NewReader(f.get("history.gz")))
	if err != nil {
		f.Fatal(err)
	}
	for in := json.NewDecoder(z); in.More(); {
		var r historyRecord
		if err := in.Decode(&r); err != nil {
			f.Fatal(err)
		}
		records = append(records, r)
	}
	return records
}
