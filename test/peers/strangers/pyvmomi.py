"""VMware's Python client (Debian: python3-pyvmomi) against a vCenter; instructions and observations are JSON."""

import hashlib
import json
import ssl
import sys
import urllib.parse
import urllib.request

from pyVim.connect import Disconnect, SmartConnect
from pyVim.task import WaitForTask
from pyVmomi import vim, vmodl


def disk(device):
    backing = device.backing
    chain = []
    while backing is not None:
        chain.append(backing.fileName)
        backing = backing.parent
    return {
        "key": device.key,
        "label": device.deviceInfo.label,
        "controller": device.controllerKey,
        "unit": device.unitNumber,
        "capacity": device.capacityInBytes,
        "mode": device.backing.diskMode,
        "thin": device.backing.thinProvisioned,
        "changeId": device.backing.changeId is not None,
        "backing": type(device.backing).__name__,
        "chain": chain,
    }


def disks(config):
    return [disk(d) for d in config.hardware.device if isinstance(d, vim.vm.device.VirtualDisk)]


def fault(call):
    try:
        call()
    except vmodl.MethodFault as problem:
        return {"type": type(problem).__name__, "message": problem.msg}
    return None


def wait_by_filter(content, task):
    """Waits through a filter of the property collector: the way that needs no polling."""
    collector = content.propertyCollector
    spec = vmodl.query.PropertyCollector.FilterSpec(
        objectSet=[vmodl.query.PropertyCollector.ObjectSpec(obj=task)],
        propSet=[vmodl.query.PropertyCollector.PropertySpec(type=vim.Task, pathSet=["info.state", "info.progress"])],
    )
    watch = collector.CreateFilter(spec, False)
    version, states = "", []
    try:
        while not states or states[-1] not in ("success", "error"):
            options = vmodl.query.PropertyCollector.WaitOptions(maxWaitSeconds=30)
            update = collector.WaitForUpdatesEx(version, options)
            if update is None:
                raise RuntimeError("no update within 30 seconds")
            version = update.version
            for changed in update.filterSet[0].objectSet:
                for change in changed.changeSet:
                    if change.name == "info.state":
                        states.append(str(change.val))
    finally:
        watch.Destroy()
    return states


def all_machines(content, page):
    """Every machine with name and power state, in pages."""
    view = content.viewManager.CreateContainerView(content.rootFolder, [vim.VirtualMachine], True)
    walk = vmodl.query.PropertyCollector.TraversalSpec(name="v", type=vim.view.ContainerView, path="view", skip=False)
    spec = vmodl.query.PropertyCollector.FilterSpec(
        objectSet=[vmodl.query.PropertyCollector.ObjectSpec(obj=view, skip=True, selectSet=[walk])],
        propSet=[
            vmodl.query.PropertyCollector.PropertySpec(type=vim.VirtualMachine, pathSet=["name", "runtime.powerState"])
        ],
    )
    collector = content.propertyCollector
    found, pages = [], 0
    options = vmodl.query.PropertyCollector.RetrieveOptions(maxObjects=page)
    result = collector.RetrievePropertiesEx([spec], options)
    while result is not None:
        pages += 1
        for each in result.objects:
            found.append({prop.name: str(prop.val) for prop in each.propSet})
        result = collector.ContinueRetrievePropertiesEx(result.token) if result.token else None
    view.Destroy()
    return {"machines": found, "pages": pages}


def download(wish, context, cookie, path, first, last):
    query = urllib.parse.urlencode({"dcPath": "dc1", "dsName": "ds1"})
    url = "%s/folder/%s?%s" % (wish["url"], urllib.parse.quote(path), query)
    request = urllib.request.Request(url, headers={"Cookie": cookie, "Range": "bytes=%d-%d" % (first, last)})
    try:
        with urllib.request.urlopen(request, context=context) as answer:
            return {"status": answer.status, "sha256": hashlib.sha256(answer.read()).hexdigest()}
    except urllib.error.HTTPError as problem:
        return {"status": problem.code}


def main():
    wish = json.load(sys.stdin)
    context = ssl.create_default_context(cafile=wish["certificate"])
    place = urllib.parse.urlparse(wish["url"])
    where = {"host": place.hostname, "port": place.port, "sslContext": context}
    out = {}
    out["wrongPassword"] = fault(lambda: SmartConnect(user=wish["user"], pwd="wrong", **where))
    service = SmartConnect(user=wish["user"], pwd=wish["password"], **where)
    content = service.RetrieveContent()
    search = content.searchIndex
    out["product"] = content.about.fullName
    out["user"] = content.sessionManager.currentSession.userName
    out["tree"] = [[child.name for child in folder.childEntity] for folder in [content.rootFolder, content.rootFolder.childEntity[0].vmFolder]]

    web01 = search.FindByInventoryPath("dc1/vm/web01")
    out["found"] = {
        "path": web01._moId,
        "ip": search.FindByIp(None, web01.guest.ipAddress, True)._moId,
        "dns": search.FindByDnsName(None, web01.guest.hostName, True)._moId,
        "uuid": search.FindByUuid(None, web01.config.uuid, True)._moId,
        "instanceUuid": search.FindByUuid(None, web01.config.instanceUuid, True, True)._moId,
        "datastore": search.FindByDatastorePath(content.rootFolder.childEntity[0], web01.config.files.vmPathName)._moId,
        "nothing": search.FindByInventoryPath("dc1/vm/absent"),
    }
    awkward = search.FindByInventoryPath("dc1/vm/Test VMs/" + wish["awkward"])
    out["awkward"] = {"name": awkward.name, "power": awkward.runtime.powerState, "disks": disks(awkward.config)}
    out["list"] = all_machines(content, 1)
    out["disks"] = disks(web01.config)
    out["locked"] = download(wish, context, service._stub.cookie, "web01/web01-flat.vmdk", 0, 511)

    task = web01.CreateSnapshot_Task("stranger", "by pyvmomi", False, True)
    out["states"] = wait_by_filter(content, task)
    snapshot = task.info.result
    out["snapshot"] = {
        "tree": [web01.snapshot.rootSnapshotList[0].name, web01.snapshot.rootSnapshotList[0].quiesced],
        "isCurrent": web01.snapshot.currentSnapshot == snapshot,
        "frozen": disks(snapshot.config),
        "running": disks(web01.config),
    }
    out["areas"] = web01.QueryChangedDiskAreas(snapshot, 2000, 0, "*").length
    out["frozenFile"] = download(wish, context, service._stub.cookie, "web01/web01-flat.vmdk", 0, 1048575)
    out["runningFile"] = download(wish, context, service._stub.cookie, "web01/web01-000001-delta.vmdk", 0, 511)
    out["anonymous"] = download(wish, context, "none=1", "web01/web01.vmx", 0, 10)
    out["removal"] = str(WaitForTask(snapshot.RemoveSnapshot_Task(False)))
    out["after"] = {"snapshot": web01.snapshot, "disks": disks(web01.config)}
    out["gone"] = fault(lambda: snapshot.RemoveSnapshot_Task(False))
    Disconnect(service)
    out["loggedOut"] = fault(lambda: service.CurrentTime())
    json.dump(out, sys.stdout)


main()
