package main

import (
	"bytes"
	"io"
	"io/ioutil"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"

	"github.com/vmware/govmomi/simulator"
)

const sessionCookie = "vmware_soap_session"

// The simulator names the FileManager as what a task is about; that is no managed entity, and pyVmomi refuses it.
var taskEntity = regexp.MustCompile(`<entity[^>]*type="FileManager"[^>]*>[^<]*</entity>`)

// front stands before the simulator and differs from it where a real vCenter does:
//   - files are served and taken only within a live session (401), and are never deleted over HTTP (405);
//   - a new file is answered with 201;
//   - an upload that breaks off leaves no file;
//   - a session that ended is unknown to SOAP, too.
//
// The control file holds a word: `expire` forgets all sessions; `refuse` answers the next upload with 500 after its
// bytes were taken; `shorten` keeps one byte less of the next upload than came.
type front struct {
	simulator http.Handler
	control   string
	mutex     sync.Mutex
	live      map[string]bool
}

func newFront(handler http.Handler, control string) *front {
	return &front{simulator: handler, control: control, live: map[string]bool{}}
}

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	log.Printf("%s %s %s", r.Method, r.URL.RequestURI(), r.Header.Get("Range"))
	if f.told("expire") {
		f.mutex.Lock()
		f.live = map[string]bool{}
		f.mutex.Unlock()
	}
	if !strings.HasPrefix(r.URL.Path, "/folder/") {
		f.soap(w, r)
		return
	}
	switch {
	case !f.isLive(r):
		w.WriteHeader(http.StatusUnauthorized)
	case r.Method == http.MethodGet || r.Method == http.MethodHead:
		f.simulator.ServeHTTP(w, r)
	case r.Method == http.MethodPut:
		f.upload(w, r)
	default:
		w.WriteHeader(http.StatusMethodNotAllowed)
	}
}

// upload passes a PUT on and looks at what became of it.
func (f *front) upload(w http.ResponseWriter, r *http.Request) {
	before := httptest.NewRecorder()
	f.simulator.ServeHTTP(before, httptest.NewRequest(http.MethodHead, r.URL.RequestURI(), nil))
	existed := before.Code == http.StatusOK

	body := &watched{ReadCloser: r.Body}
	r.Body = body
	after := httptest.NewRecorder()
	f.simulator.ServeHTTP(after, r)

	status := after.Code
	path := fileOf(r)
	switch {
	case body.broken && !existed:
		os.Remove(path)
	case f.told("refuse"):
		status = http.StatusInternalServerError
	case f.told("shorten"):
		if stat, err := os.Stat(path); err == nil && stat.Size() > 0 {
			os.Truncate(path, stat.Size()-1)
		}
	}
	if status == http.StatusOK && !existed {
		status = http.StatusCreated
	}
	w.WriteHeader(status)
}

// soap passes a call on, without a cookie that is worth nothing any more, and learns of sessions that begin and end.
func (f *front) soap(w http.ResponseWriter, r *http.Request) {
	call, err := ioutil.ReadAll(r.Body)
	if err != nil {
		return
	}
	r.Body = ioutil.NopCloser(bytes.NewReader(call))
	if !f.isLive(r) {
		r.Header.Del("Cookie")
	}
	answer := httptest.NewRecorder()
	f.simulator.ServeHTTP(answer, r)

	result := answer.Result()
	f.mutex.Lock()
	if bytes.Contains(call, []byte("Logout")) {
		delete(f.live, session(r))
	}
	for _, cookie := range result.Cookies() {
		if cookie.Name == sessionCookie {
			f.live[plain(cookie.Value)] = true
		}
	}
	f.mutex.Unlock()

	for name, values := range result.Header {
		if name != "Content-Length" {
			w.Header()[name] = values
		}
	}
	w.WriteHeader(answer.Code)
	w.Write(taskEntity.ReplaceAll(answer.Body.Bytes(), nil))
}

// told says whether the control file holds this word, and removes it if so.
func (f *front) told(word string) bool {
	if f.control == "" {
		return false
	}
	found, err := ioutil.ReadFile(f.control)
	return err == nil && strings.TrimSpace(string(found)) == word && os.Remove(f.control) == nil
}

func (f *front) isLive(r *http.Request) bool {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	return f.live[session(r)]
}

func session(r *http.Request) string {
	cookie, err := r.Cookie(sessionCookie)
	if err != nil {
		return ""
	}
	return plain(cookie.Value)
}

func plain(value string) string {
	return strings.Trim(value, `"`)
}

// fileOf tells where the simulator keeps the file that a request names; empty for a datastore that is not there.
func fileOf(r *http.Request) string {
	for _, object := range simulator.Map.All("Datastore") {
		store := object.(*simulator.Datastore)
		if store.Name == r.URL.Query().Get("dsName") {
			root := store.Info.GetDatastoreInfo().Url
			return filepath.Join(root, strings.TrimPrefix(filepath.Clean(r.URL.Path), "/folder/"))
		}
	}
	return ""
}

// watched is a body that remembers whether it broke off before its end.
type watched struct {
	io.ReadCloser
	broken bool
}

func (b *watched) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.broken = b.broken || (err != nil && err != io.EOF)
	return n, err
}
