#!/usr/bin/env python3
"""Runs test programs in a small virtual machine with Debian's own kernel, which has netem.

Many machines that run tests have a kernel without netem and without modules. So the kernel package is fetched
(apt-get download; nothing is installed), its modules, the programs and their libraries become an initramfs, and
qemu boots it without hardware virtualisation. tests/vm/init.sh is its first process.

Its clock counts the instructions that it has run, a nanosecond for each, and jumps over what it sleeps. So a machine that
is busy makes it take longer, and changes nothing of what is measured inside; and to wait costs nothing.

    vm.py --cache FOLDER --work FOLDER [--file FILE]... [--module FILE]... [--doc FILE]... [--timeout S] PROGRAM...

--file puts a program into /opt, --module one of Python beside the programs, --doc a page that a test reads; Python itself
comes along when one of them is written in it.

Each PROGRAM is run in turn, as root, with nothing but loopback. Exit code: 0 when all passed, 77 when this machine
cannot run it or all were skipped, 1 otherwise.
"""
import argparse
import fcntl
import importlib.util
import os
import pathlib
import platform
import py_compile
import re
import shutil
import stat
import struct
import subprocess
import sys
import sysconfig

HERE = pathlib.Path(__file__).resolve().parent
META = "linux-image-cloud-amd64"
TOOLS = {"qemu-system-x86_64": "qemu-system-x86", "busybox": "busybox-static", "ip": "iproute2", "nsenter": "util-linux", "tc": "iproute2",
         "nft": "nftables", "apt-get": "apt", "dpkg-deb": "dpkg", "ldd": "libc-bin", "strip": "binutils"}
MODULES = """sch_netem sch_prio sch_tbf sch_htb sch_ingress cls_u32 act_mirred ifb veth dummy nf_tables nft_numgen nft_ct
    nft_limit nft_queue nft_compat nft_reject nft_reject_inet nft_reject_netdev nft_fwd_netdev nft_chain_nat nft_redir
    nft_nat nft_tproxy nft_socket nft_hash nf_conntrack nf_nat nf_conntrack_netlink nfnetlink_queue xt_NFQUEUE
    xt_statistic xt_tcpudp xt_addrtype xt_mark xt_REDIRECT x_tables ip_tables iptable_filter iptable_mangle ip6_tables
    ip6table_filter ip6table_mangle ipt_REJECT ip6t_REJECT bridge tun""".split()
SIGNATURE = struct.Struct(">8xI")  # struct module_signature of the kernel: its last field is the length of what precedes it
# What the kernel need not try out or measure: each of these costs an emulated processor a second or more. And programs
# that are always at the same addresses are translated once only.
SPARE = "cryptomgr.notests nolapic_timer no_timer_check lpj=4000000 mitigations=off norandmaps"
SKIP = 77


class Skip(Exception):
    pass


def run(argv, **kwargs):
    return subprocess.run(argv, check=True, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **kwargs).stdout


def check_machine():
    if platform.machine() != "x86_64":
        raise Skip(f"the virtual machine is for x86_64, not {platform.machine()}")
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    missing = sorted({package for tool, package in TOOLS.items() if not shutil.which(tool)})
    if missing:
        raise Skip(f"not installed: {' '.join(missing)}")


# ---- the kernel ----

def kernel_package():
    """The package that the meta package names now; apt's lists are updated when they do not know it."""
    for update in (False, True):
        if update:
            subprocess.run(["apt-get", "-qq", "update"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                           timeout=180, check=False)
        listed = subprocess.run(["apt-cache", "depends", META], text=True, stdout=subprocess.PIPE,
                                stderr=subprocess.DEVNULL, check=False).stdout
        names = re.findall(r"Depends: (linux-image-\S+)", listed)
        if names:
            return names[0]
    raise Skip(f"apt knows no {META}: apt-get update")


def fetch_kernel(cache):
    """Downloads and unpacks it once. A folder that is there is whole: it was renamed last."""
    ready = sorted(p for p in cache.glob("linux-image-*") if (p / "boot").is_dir())
    if ready:
        return ready[-1]
    package = kernel_package()
    scratch = cache / "scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    (scratch / "tree").mkdir(parents=True)
    got = subprocess.run(["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", package], cwd=scratch,
                         text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300, check=False)
    debs = list(scratch.glob("*.deb"))
    if not debs:
        raise Skip(f"cannot download {package}: {got.stdout.strip()[-200:]}")
    run(["dpkg-deb", "-x", str(debs[0]), str(scratch / "tree")])
    os.rename(scratch / "tree", cache / package)
    shutil.rmtree(scratch)
    return cache / package


def needs_of(module):
    return re.search(rb"\0depends=([^\0]*)\0", b"\0" + module.read_bytes()).group(1).decode()


def unsigned(module):
    """Without the signature behind it: to check one takes an emulated processor longer than all else of loading."""
    mark = b"~Module signature appended~\n"
    if not module.endswith(mark):
        return module
    end = len(module) - len(mark)
    return module[:end - SIGNATURE.size - SIGNATURE.unpack(module[end - SIGNATURE.size:end])[0]]


def modules_in_order(tree):
    """The wanted modules with what they depend on, in an order in which they can be loaded. What the kernel has
    built in is no file, and needs none."""
    files = {p.name[:-3].replace("-", "_"): p for p in tree.glob("lib/modules/*/kernel/**/*.ko")}
    order = {}

    def add(name):
        if name in order or name not in files:
            return
        for need in filter(None, needs_of(files[name]).split(",")):
            add(need.replace("-", "_"))
        order[name] = files[name]

    for name in MODULES:
        add(name)
    return order


# ---- the initramfs ----

class Archive:
    """A cpio archive in the `newc` format, which needs neither root nor cpio."""

    def __init__(self, path):
        self.file, self.seen, self.inode = open(path, "wb"), set(), 0

    def _entry(self, name, mode, data=b"", device=(0, 0)):
        self.inode += 1
        fields = (self.inode, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(name) + 1, 0)
        head = b"070701" + b"".join(b"%08X" % f for f in fields) + name.encode() + b"\0"
        for part in (head, data):
            self.file.write(part + b"\0" * (-len(part) % 4))

    def folder(self, path):
        parts = path.strip("/").split("/")
        for i in range(1, len(parts) + 1):
            name = "/".join(parts[:i])
            if name and name not in self.seen:
                self.seen.add(name)
                self._entry(name, stat.S_IFDIR | 0o755)

    def add(self, path, data, mode=0o755):
        name = path.strip("/")
        if name in self.seen:
            return
        self.folder(os.path.dirname("/" + name))
        self.seen.add(name)
        self._entry(name, stat.S_IFREG | mode, data)

    def device(self, path, major, minor):
        self.folder(os.path.dirname(path))
        self._entry(path.strip("/"), stat.S_IFCHR | 0o600, device=(major, minor))

    def close(self):
        self._entry("TRAILER!!!", 0)
        self.file.close()


def libraries_of(program):
    listed = subprocess.run(["ldd", program], text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                            check=False).stdout
    return re.findall(r"(?:=> )?(/\S+) \(0x", listed)


def add_program(archive, program, at, work):
    """Without what only a debugger reads: it is most of the file."""
    small = work / "stripped"
    if subprocess.run(["strip", "--strip-debug", "-o", small, program], stderr=subprocess.DEVNULL,
                      check=False).returncode != 0:
        shutil.copyfile(program, small)
    archive.add(at, small.read_bytes())
    for library in libraries_of(program):
        archive.add(library, pathlib.Path(library).read_bytes())


def modules_of_python(programs, modules):
    """The files of what the tests import, as the interpreter finds them here; what is imported later than that is named."""
    names = [pathlib.Path(p).stem for p in programs if p.endswith(".py")]
    late = ["encodings.idna", "encodings.ascii", "encodings.latin_1", "concurrent.futures.thread"]
    code = (f"import sys; sys.path[:0] = {sorted({str(pathlib.Path(p).resolve().parent) for p in programs + modules})}\n"
            f"import importlib\nfor name in {names + late}: importlib.import_module(name)\n"
            "print('\\n'.join(f for m in list(sys.modules.values()) if (f := getattr(m, '__file__', None))))")
    listed = run([sys.executable, "-S", "-c", code], cwd="/", env=dict(os.environ, PYTHONDONTWRITEBYTECODE="1"))
    return sorted(pathlib.Path(line) for line in set(listed.splitlines()))


def add_python(archive, args):
    """The interpreter and what is needed of its library, compiled: to do that there takes a minute."""
    add_program(archive, os.path.realpath(sys.executable), "/usr/bin/python3", args.work)
    library = pathlib.Path(sysconfig.get_path("stdlib"))
    for file in modules_of_python(args.program, args.module):
        at = str(file) if library in file.parents else f"/chaos-load/tests/e2e/{file.name}"
        if file.suffix == ".so":
            add_program(archive, file, at, args.work)
            continue
        compiled = args.work / "compiled"
        py_compile.compile(str(file), str(compiled), dfile=at, doraise=True, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
        archive.add(importlib.util.cache_from_source(at), compiled.read_bytes(), 0o644)
        archive.add(at, file.read_bytes(), 0o644)


def build_initramfs(args, tree, path):
    archive = Archive(path)
    archive.device("/dev/console", 5, 1)
    for folder in ("/proc", "/sys", "/tmp", "/run", "/root", "/etc"):
        archive.folder(folder)
    order = modules_in_order(tree)
    for name, file in order.items():
        archive.add(f"/modules/{name}.ko", unsigned(file.read_bytes()))
    archive.add("/modules/order", "\n".join(order).encode() + b"\n", 0o644)
    archive.add("/init", (HERE / "init.sh").read_bytes())
    archive.add("/etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n", 0o644)
    archive.add("/etc/hosts", b"127.0.0.1 localhost\n::1 localhost\n", 0o644)
    add_program(archive, shutil.which("busybox"), "/bin/busybox", args.work)
    for tool in ("ip", "tc", "nft", "nsenter", "unshare"):
        add_program(archive, shutil.which(tool), f"/usr/sbin/{tool}", args.work)
    for program in (shutil.which("iptables"), shutil.which("ip6tables")):
        if program:
            add_program(archive, os.path.realpath(program), f"/usr/sbin/{os.path.basename(program)}", args.work)
    plugins = pathlib.Path("/usr/lib/x86_64-linux-gnu/xtables")
    for plugin in sorted(plugins.glob("*.so")) if plugins.is_dir() else []:
        archive.add(str(plugin), plugin.read_bytes())
    for file in args.file:
        add_program(archive, file, f"/opt/{os.path.basename(file)}", args.work)
    for module in args.module:
        archive.add(f"/chaos-load/tests/e2e/{os.path.basename(module)}", pathlib.Path(module).read_bytes())
    for page in args.doc:
        archive.add(f"/chaos-load/docs/{os.path.basename(page)}", pathlib.Path(page).read_bytes(), 0o644)
    if any(program.endswith(".py") for program in args.program):
        add_python(archive, args)
    for program in args.program:
        add_program(archive, program, f"/chaos-load/tests/e2e/{os.path.basename(program)}", args.work)
    names = [os.path.basename(p) for p in args.program]
    archive.add("/chaos-load/tests/list", "\n".join(names).encode() + b"\n", 0o644)
    archive.close()


# ---- the machine ----

def boot(args, tree, initramfs):
    kernel = next(tree.glob("boot/vmlinuz-*"))
    argv = ["qemu-system-x86_64", "-accel", "tcg", "-cpu", "max", "-icount", "shift=0,sleep=off", "-m", str(args.memory),
            "-kernel", str(kernel), "-initrd", str(initramfs), "-append", "console=ttyS0 panic=-1 quiet " + SPARE,
            "-no-reboot", "-nodefaults", "-serial", "stdio", "-display", "none"]
    lines = []
    with subprocess.Popen(["timeout", "-k", "5", str(args.timeout), *argv], stdin=subprocess.DEVNULL, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, errors="replace") as machine:
        for line in machine.stdout:
            line = line.rstrip()
            lines.append(line)
            print(line, flush=True)
    return lines


def judge(lines, programs):
    """One line `RESULT name code` for each program, or it never ended."""
    results = dict(re.findall(r"^RESULT (\S+) (\d+)$", "\n".join(lines), re.M))
    codes = [int(results.get(os.path.basename(p), -1)) for p in programs]
    for program, code in zip(programs, codes):
        if code not in (0, SKIP):
            print(f"FAILED in the virtual machine: {os.path.basename(program)}, "
                  f"{'which did not end' if code < 0 else f'exit code {code}'}")
    if any(code not in (0, SKIP) for code in codes):
        return 1
    return SKIP if all(code == SKIP for code in codes) else 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--cache", type=pathlib.Path, required=True)
    parser.add_argument("--work", type=pathlib.Path, required=True)
    parser.add_argument("--file", action="append", default=[])
    parser.add_argument("--module", action="append", default=[])
    parser.add_argument("--doc", action="append", default=[])
    parser.add_argument("--timeout", type=int, default=120)
    parser.add_argument("--memory", type=int, default=512)
    parser.add_argument("program", nargs="+")
    args = parser.parse_args()
    check_machine()
    args.cache.mkdir(parents=True, exist_ok=True)
    args.work.mkdir(parents=True, exist_ok=True)
    with open(args.cache / "lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        tree = fetch_kernel(args.cache)
    initramfs = args.work / "initramfs.cpio"
    build_initramfs(args, tree, initramfs)
    code = judge(boot(args, tree, initramfs), args.program)
    initramfs.unlink()
    return code


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Skip as why:
        print(f"SKIP {why}")
        sys.exit(SKIP)
