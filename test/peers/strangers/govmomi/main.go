// Client of the govmomi project against a vCenter: instructions and observations are JSON. The code that talks to the
// server is all govmomi's.
package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/url"
	"os"

	"github.com/vmware/govmomi"
	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/session"
	"github.com/vmware/govmomi/view"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

type wish struct {
	URL         string `json:"url"`
	User        string `json:"user"`
	Password    string `json:"password"`
	Certificate string `json:"certificate"`
	Awkward     string `json:"awkward"`
}

type disk struct {
	Key      int32    `json:"key"`
	Name     string   `json:"name"`
	Capacity int64    `json:"capacity"`
	Chain    []string `json:"chain"`
}

type download struct {
	Status int    `json:"status"`
	Length int64  `json:"length"`
	Sha256 string `json:"sha256"`
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func disks(devices object.VirtualDeviceList) []disk {
	var out []disk
	for _, device := range devices.SelectByType((*types.VirtualDisk)(nil)) {
		d := device.(*types.VirtualDisk)
		entry := disk{Key: d.Key, Name: devices.Name(d), Capacity: d.CapacityInBytes}
		for b, ok := d.Backing.(*types.VirtualDiskFlatVer2BackingInfo); ok && b != nil; b = b.Parent {
			entry.Chain = append(entry.Chain, b.FileName)
		}
		out = append(out, entry)
	}
	return out
}

func get(ctx context.Context, client *vim25.Client, address *url.URL, first, last int64) download {
	request, err := http.NewRequest("GET", address.String(), nil)
	check(err)
	request.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", first, last))
	var out download
	check(client.Client.Do(ctx, request, func(response *http.Response) error {
		hash := sha256.New()
		out.Status = response.StatusCode
		out.Length, err = io.Copy(hash, response.Body)
		out.Sha256 = fmt.Sprintf("%x", hash.Sum(nil))
		return err
	}))
	return out
}

func login(ctx context.Context, w wish, password string) (*govmomi.Client, error) {
	address, err := soap.ParseURL(w.URL)
	check(err)
	connection := soap.NewClient(address, false)
	check(connection.SetRootCAs(w.Certificate))
	client, err := vim25.NewClient(ctx, connection)
	check(err)
	manager := session.NewManager(client)
	return &govmomi.Client{Client: client, SessionManager: manager}, manager.Login(ctx, url.UserPassword(w.User, password))
}

func main() {
	var w wish
	check(json.NewDecoder(os.Stdin).Decode(&w))
	ctx := context.Background()
	out := map[string]interface{}{}

	_, refused := login(ctx, w, "wrong")
	out["wrongPassword"] = fmt.Sprint(refused)
	client, err := login(ctx, w, w.Password)
	check(err)
	out["product"] = client.ServiceContent.About.FullName
	out["isVC"] = client.IsVC()

	finder := find.NewFinder(client.Client, true)
	center, err := finder.DefaultDatacenter(ctx)
	check(err)
	finder.SetDatacenter(center)
	out["datacenter"] = center.InventoryPath
	machine, err := finder.VirtualMachine(ctx, "web01")
	check(err)
	out["path"] = machine.InventoryPath
	nested, err := finder.VirtualMachineList(ctx, "/dc1/vm/Test VMs/*")
	check(err)
	out["awkward"] = nested[0].Name()
	_, missing := finder.VirtualMachine(ctx, "absent")
	out["missing"] = fmt.Sprint(missing)
	host, err := finder.DefaultHostSystem(ctx)
	check(err)
	out["host"] = host.Name() != ""
	store, err := finder.Datastore(ctx, "ds1")
	check(err)

	byUUID := object.NewSearchIndex(client.Client)
	var properties mo.VirtualMachine
	collector := property.DefaultCollector(client.Client)
	check(collector.RetrieveOne(ctx, machine.Reference(), []string{"config.uuid", "config.files", "summary", "runtime.host", "parent"}, &properties))
	found, err := byUUID.FindByUuid(ctx, nil, properties.Config.Uuid, true, nil)
	check(err)
	out["uuid"] = found.Reference().Value == machine.Reference().Value
	out["vmx"] = properties.Config.Files.VmPathName
	out["overall"] = properties.Summary.OverallStatus

	views, err := view.NewManager(client.Client).CreateContainerView(ctx, client.ServiceContent.RootFolder, []string{"ManagedEntity"}, true)
	check(err)
	var entities []mo.ManagedEntity
	check(views.Retrieve(ctx, []string{"ManagedEntity"}, []string{"name"}, &entities))
	out["entities"] = len(entities)
	check(views.Destroy(ctx))

	devices, err := machine.Device(ctx)
	check(err)
	out["disks"] = disks(devices)

	task, err := machine.CreateSnapshot(ctx, "stranger", "by govmomi", false, false)
	check(err)
	info, err := task.WaitForResult(ctx, nil)
	check(err)
	reference := info.Result.(types.ManagedObjectReference)
	named, err := machine.FindSnapshot(ctx, "stranger")
	check(err)
	out["snapshotByName"] = named.Value == reference.Value
	var snapshot mo.VirtualMachineSnapshot
	check(collector.RetrieveOne(ctx, reference, []string{"config"}, &snapshot))
	out["frozen"] = disks(object.VirtualDeviceList(snapshot.Config.Hardware.Device))
	devices, err = machine.Device(ctx)
	check(err)
	out["running"] = disks(devices)

	areas, err := methods.QueryChangedDiskAreas(ctx, client.Client, &types.QueryChangedDiskAreas{
		This: machine.Reference(), Snapshot: &reference, DeviceKey: 2000, ChangeId: "*",
	})
	check(err)
	out["areas"] = areas.Returnval.Length

	address := store.NewURL("web01/web01-flat.vmdk")
	out["url"] = address.RequestURI()
	out["range"] = get(ctx, client.Client, address, 4096, 1048575)
	text, _, err := store.Download(ctx, "web01/web01.vmx", nil)
	check(err)
	vmx, err := io.ReadAll(text)
	check(err)
	out["vmxBytes"] = len(vmx)

	removal, err := machine.RemoveSnapshot(ctx, reference.Value, false, nil)
	check(err)
	check(removal.Wait(ctx))
	devices, err = machine.Device(ctx)
	check(err)
	out["after"] = disks(devices)
	again, err := machine.PowerOn(ctx)
	check(err)
	out["powerOn"] = fmt.Sprint(again.Wait(ctx))
	check(client.Logout(ctx))
	check(json.NewEncoder(os.Stdout).Encode(out))
}
