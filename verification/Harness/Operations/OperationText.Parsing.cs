using System.Globalization;
using Vcmm.Spec;

namespace Harness.Operations;

// What is printed, read back.
public static partial class OperationText
{
    /// <summary>Reads a line.</summary>
    /// <exception cref="BadInputException">It is not a step.</exception>
    public static Step Parse(string line)
    {
        ArgumentNullException.ThrowIfNull(line);
        var words = new Words(line);
        Operation operation = ParseOperation(words);
        Mishap? mishap = null;
        if (words.TryTake("!"))
        {
            MishapKind kind = words.Take("memory or hardware") switch
            {
                "memory" => MishapKind.Memory,
                "hardware" => MishapKind.Hardware,
                _ => throw words.Expected("memory or hardware"),
            };
            string number = words.Take("a number from 1");
            if (!int.TryParse(number, NumberStyles.None, CultureInfo.InvariantCulture, out int which) || which < 1) throw words.Expected("a number from 1");
            mishap = new(kind, which);
        }

        words.End();
        return new(operation, mishap);
    }

    private static Operation ParseOperation(Words words)
    {
        if (words.TakeMade() is { Count: not 0 } made) return ParseMaking(made, words);
        string verb = words.Take("an operation");
        return verb switch
        {
            "free" => words.TakeId("a region, a bound or memory") switch
            {
                { Kind: ObjectKind.Vcm } vcm => new FreeVcm(vcm),
                { Kind: ObjectKind.Bound } bound => new FreeBound(bound),
                { Kind: ObjectKind.Memory } memory => new FreeMemory(memory),
                _ => throw words.Expected("a region (v…), a bound (b…) or memory (m…)"),
            },
            "unreserve" => new Unreserve(words.TakeId(ObjectKind.Reservation)),
            "acquire" => new Acquire(words.TakeId(ObjectKind.Reservation)),
            "release" => new Release(words.TakeId(ObjectKind.Reservation)),
            "protect" => new SetAttributes(words.TakeId(ObjectKind.Reservation), TakeAttributes(words)),
            "find" => new FindReservation(words.TakeId(ObjectKind.Vcm), words.TakeAddress()),
            "list" => new ListReservations(words.TakeId(ObjectKind.Vcm)),
            "mappings" => new FindMappings(words.TakeId(ObjectKind.Memory), words.TakeSize("at")),
            "back" => TakeBack(words),
            "unback" => TakeUnback(words),
            "unmap" => new Unmap(words.TakeId(ObjectKind.Reservation)),
            "unbind" => new Unbind(words.TakeId(ObjectKind.Vcm), words.TakeId(ObjectKind.Reservation), words.TakeId(ObjectKind.Memory)),
            "copy" => TakeCopy(words),
            "dirty" => TakeCollect(words, Use.Written),
            "accessed" => TakeCollect(words, Use.Accessed),
            "change" => new ChangeAssociation(words.TakeId(ObjectKind.Association))
            {
                Kind = words.TryTakeKind(),
                Pasid = words.TryTakePasid(),
                Base = TakeBase(words),
                Split = TakeSplit(words),
                Guest = TakeNested(words),
            },
            "deassociate" => new Deassociate(words.TakeId(ObjectKind.Association)),
            "activate" => new Activate(words.TakeId(ObjectKind.Association)),
            "deactivate" => TakeDeactivate(words),
            "pass-through" => new PassThrough(words.TakeId(ObjectKind.Device)) { Pasid = words.TryTakePasid() },
            "end-pass-through" => new EndPassThrough(words.TakeId(ObjectKind.Device)) { Pasid = words.TryTakePasid() },
            "guest-map" => new GuestMap(words.TakeId(ObjectKind.Guest), TakePage(words), TakeTarget(words), words.TakePermissions()),
            "guest-unmap" => new GuestUnmap(words.TakeId(ObjectKind.Guest), TakePage(words)),
            "invalidate" => new GuestInvalidate(words.TakeId(ObjectKind.Association), words.TakeRange()),
            "translate" => TakeTranslate(words),
            "read" => TakeAccess(words, Permissions.Read),
            "write" => TakeAccess(words, Permissions.Write),
            "fetch" => TakeCoreAccess(words, words.TakeId(ObjectKind.Core), Permissions.Execute),
            "idle" => new GoIdle(words.TakeId(ObjectKind.Core)),
            "flush" => new Flush(words.TakeId(ObjectKind.Vcm)),
            "poll" => new PollFlush(),
            "hook" => new SetFaultHook(words.TakeId(ObjectKind.Device), TakeHook(words)),
            "dispatch" => new DispatchFaults(),
            "advance" => new AdvanceTime(words.TakeMilliseconds()),
            _ => throw words.Expected("an operation"),
        };
    }

    private static Operation ParseMaking(List<ObjectId> made, Words words)
    {
        string verb = words.Take("an operation");
        ObjectKind[] makes = verb switch
        {
            "vcm" or "clone" or "adopt" => [ObjectKind.Vcm],
            "bound" => [ObjectKind.Bound],
            "reserve" or "reserve-at" or "map" => [ObjectKind.Reservation],
            "bind" => [ObjectKind.Reservation, ObjectKind.Memory],
            "allocate" or "allocate-contiguous" or "wrap" => [ObjectKind.Memory],
            "associate" => [ObjectKind.Association],
            "guest" => [ObjectKind.Guest],
            _ => throw words.Expected("vcm, clone, adopt, bound, reserve, reserve-at, map, bind, allocate, allocate-contiguous, wrap, guest or associate"),
        };
        if (!makes.SequenceEqual(made.Select(id => id.Kind)))
            throw words.Expected($"{string.Join(" and ", makes.Select(kind => $"a name that begins with {(char)kind}"))} for what {verb} makes");
        ObjectId first = made[0];
        return verb switch
        {
            "vcm" => new CreateVcm(first, words.TakeRange(), words.TryTake("one-to-one") ? VcmKind.OneToOne : VcmKind.Device)
            {
                IsDeferred = words.TryTake("deferred"),
                IsTopDown = words.TryTake("top-down"),
            },
            "clone" => new CloneVcm(first, words.TakeId(ObjectKind.Vcm)),
            "adopt" => new Adopt(first, words.TakeId(ObjectKind.Vcm)) { Kind = words.TryTakeKind() },
            "bound" => new CreateBound(first, words.TakeId(ObjectKind.Vcm), words.TakeSize(), words.TakeSize("align")),
            "reserve" => new Reserve(first, TakeSpace(words), words.TakeSize(), TakeAttributes(words), words.TakeSize("align")),
            "reserve-at" => new ReserveAt(first, TakeSpace(words), words.TakeAddress(), words.TakeSize(), TakeAttributes(words)),
            "map" => new Map(first, words.TakeId(ObjectKind.Vcm), words.TakeId(ObjectKind.Memory), TakeAttributes(words), words.TakeSize("align")),
            "bind" => new Bind(first, made[1], words.TakeId(ObjectKind.Vcm), words.TakeSize(), TakeAttributes(words), TakeChunks(words), words.TryTake("scattered")) { From = TakeBanks(words) },
            "allocate" => new AllocateMemory(first, words.TakeSize(), TakeChunks(words), words.TryTake("scattered")) { From = TakeBanks(words) },
            "allocate-contiguous" => new AllocateContiguous(first, words.TakeSize(), words.TakeSize("align")) { From = TakeBanks(words) },
            "wrap" => new Wrap(first, words.TakeRange()),
            "guest" => new CreateGuest(first, words.TakeId(ObjectKind.Reservation)),
            _ => new Associate(first, words.TakeId(ObjectKind.Vcm), TakeUser(words))
            {
                Kind = words.TryTakeKind(),
                Pasid = words.TryTakePasid(),
                Base = TakeBase(words),
                Split = TakeSplit(words),
                Guest = TakeNested(words),
            },
        };
    }

    private static TableBase TakeBase(Words words) => words.TryTake("low") ? TableBase.Low : words.TryTake("high") ? TableBase.High : TableBase.Only;

    private static ulong? TakeSplit(Words words) => words.TryTake("split") ? words.TakeAddress() : null;

    private static ObjectId? TakeNested(Words words) => words.TryTake("nested") ? words.TakeId(ObjectKind.Guest) : null;

    private static int TakePage(Words words)
    {
        words.Take("page", "page");
        return words.TakeNumber("the number of a page of the guest's devices");
    }

    private static ulong TakeTarget(Words words)
    {
        words.Take("to", "to");
        return words.TakeAddress();
    }

    private static ObjectId TakeSpace(Words words)
    {
        const string what = "a region (v…) or a bound (b…)";
        ObjectId space = words.TakeId(what);
        return space.Kind is ObjectKind.Vcm or ObjectKind.Bound ? space : throw words.Expected(what);
    }

    private static ulong TakeChunks(Words words)
    {
        words.Take("of", "of");
        return words.TakeSizes();
    }

    private static FaultHookKind TakeHook(Words words)
    {
        const string what = "refuse, retry, back or none";
        string word = words.Take(what);
        foreach (FaultHookKind kind in Enum.GetValues<FaultHookKind>())
        {
            if (Write(kind) == word) return kind;
        }

        throw words.Expected(what);
    }

    private static BankRequest TakeBanks(Words words) => new(words.TryTake("bank") ? words.TakeNumber("the number of a type of memory") : null, words.TryTake("coherent"));

    private static Operation TakeBack(Words words)
    {
        ObjectId reservation = words.TakeId(ObjectKind.Reservation);
        if (!words.TryTake("at")) return new Back(reservation, words.TakeId(ObjectKind.Memory));
        return new BackPart(reservation, words.TakeSize(), words.TakeId(ObjectKind.Memory), words.TakeSize("at"), words.TakeSize("for"));
    }

    private static Operation TakeUnback(Words words)
    {
        ObjectId reservation = words.TakeId(ObjectKind.Reservation);
        return words.TryTake("at") ? new UnbackPart(reservation, words.TakeSize(), words.TakeSize("for")) : new Unback(reservation);
    }

    private static Copy TakeCopy(Words words)
    {
        ObjectId source = words.TakeId(ObjectKind.Reservation);
        ulong sourceOffset = words.TakeSize("at");
        words.Take("to", "to");
        return new(source, sourceOffset, words.TakeId(ObjectKind.Reservation), words.TakeSize("at"), words.TakeSize("for"));
    }

    private static CollectUse TakeCollect(Words words, Use use) =>
        new(words.TakeId(ObjectKind.Reservation), words.TakeSize("at"), words.TakeSize("for"), use, words.TryTake("clear"));

    private static Operation TakeAccess(Words words, Permissions kind)
    {
        const string what = "a device (d…) or a core (c…)";
        ObjectId device = words.TakeId(what);
        if (device.Kind == ObjectKind.Core) return TakeCoreAccess(words, device, kind);
        if (device.Kind != ObjectKind.Device) throw words.Expected(what);
        bool isStray = words.TryTake("as-nobody");
        bool isPrivileged = words.TryTake("as-supervisor");
        uint? pasid = words.TryTakePasid();
        if (!isStray && !isPrivileged && words.TryTake("across")) return new CrossingAccess(device, words.TakeAddress(), kind) { Pasid = pasid };
        return new DeviceAccess(device, words.TakeAddress(), kind) { IsStray = isStray, IsPrivileged = isPrivileged, Pasid = pasid, MayAsk = !words.TryTake("at-once") };
    }

    private static Deactivate TakeDeactivate(Words words)
    {
        ObjectId association = words.TakeId(ObjectKind.Association);
        if (!words.TryTake("while")) return new(association);
        const string what = "read or write";
        Permissions kind = words.Take(what) switch
        {
            "read" => Permissions.Read,
            "write" => Permissions.Write,
            _ => throw words.Expected(what),
        };
        return new(association) { Meanwhile = new(words.TakeAddress(), kind) };
    }

    private static CoreAccess TakeCoreAccess(Words words, ObjectId core, Permissions kind)
    {
        ObjectId process = words.TakeId(ObjectKind.Process);
        return new(core, process, words.TakeAddress(), kind);
    }

    private static ObjectId TakeUser(Words words)
    {
        const string what = "a device (d…) or a process (p…)";
        ObjectId user = words.TakeId(what);
        return user.Kind is ObjectKind.Device or ObjectKind.Process ? user : throw words.Expected(what);
    }

    private static Operation TakeTranslate(Words words)
    {
        ObjectId vcm = words.TakeId(ObjectKind.Vcm);
        ulong address = words.TakeAddress();
        return words.TryTake("to") ? new TranslateTo(vcm, address, words.TakeId(ObjectKind.Vcm)) : new Translate(vcm, address);
    }
}
