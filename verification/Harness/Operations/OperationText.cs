using System.Globalization;
using System.Numerics;
using Vcmm.Spec;

namespace Harness.Operations;

/// <summary>Steps as lines of text: <c>r0 = reserve v0 8K rw align 64K</c>. What is printed can be read back.</summary>
public static class OperationText
{
    /// <summary>The step on one line.</summary>
    public static string Write(Step step) => step.Mishap is { } mishap
        ? string.Create(CultureInfo.InvariantCulture, $"{Write(step.Operation)} ! {(mishap.Kind == MishapKind.Memory ? "memory" : "hardware")} {mishap.Number}")
        : Write(step.Operation);

    /// <summary>The operation on one line.</summary>
    public static string Write(Operation operation) => operation switch
    {
        CreateVcm o => $"{o.Vcm} = vcm {o.Range}",
        FreeVcm o => $"free {o.Vcm}",
        Reserve o => $"{o.Reservation} = reserve {o.Vcm} {Size(o.ByteCount)} {Write(o.Permissions)} align {Size(o.Alignment)}",
        ReserveAt o => $"{o.Reservation} = reserve-at {o.Vcm} 0x{o.First:x} {Size(o.ByteCount)} {Write(o.Permissions)}",
        Unreserve o => $"unreserve {o.Reservation}",
        FindReservation o => $"find {o.Vcm} 0x{o.Address:x}",
        ListReservations o => $"list {o.Vcm}",
        AllocateMemory o => $"{o.Memory} = allocate {Size(o.ByteCount)} of {Sizes(o.ChunkSizes)}{(o.Scattered ? " scattered" : "")}",
        FreeMemory o => $"free {o.Memory}",
        Back o => $"back {o.Reservation} {o.Memory}",
        Unback o => $"unback {o.Reservation}",
        Associate o => $"{o.Association} = associate {o.Vcm} {o.Device}",
        Deassociate o => $"deassociate {o.Association}",
        Activate o => $"activate {o.Association}",
        Deactivate o => $"deactivate {o.Association}",
        Translate o => $"translate {o.Vcm} 0x{o.Address:x}",
        DeviceAccess o => $"{(o.Kind == Permissions.Read ? "read" : "write")} {o.Device} 0x{o.Address:x}",
        _ => throw new ArgumentException($"{operation.GetType().Name} has no text", nameof(operation)),
    };

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

    /// <summary>A number of bytes in the largest unit that divides it: <c>8K</c>, <c>2M</c>.</summary>
    public static string Size(ulong byteCount)
    {
        int unit = byteCount == 0 ? 0 : Math.Min(3, BitOperations.TrailingZeroCount(byteCount) / 10);
        return string.Create(CultureInfo.InvariantCulture, $"{byteCount >> (10 * unit)}{(unit == 0 ? "" : "KMG"[unit - 1].ToString())}");
    }

    private static Operation ParseOperation(Words words)
    {
        if (words.TryTakeMade(out ObjectId made)) return ParseMaking(made, words);
        string verb = words.Take("an operation");
        return verb switch
        {
            "free" => words.TakeId("a region or memory") switch
            {
                { Kind: ObjectKind.Vcm } vcm => new FreeVcm(vcm),
                { Kind: ObjectKind.Memory } memory => new FreeMemory(memory),
                _ => throw words.Expected("a region (v…) or memory (m…)"),
            },
            "unreserve" => new Unreserve(words.TakeId(ObjectKind.Reservation)),
            "find" => new FindReservation(words.TakeId(ObjectKind.Vcm), words.TakeAddress()),
            "list" => new ListReservations(words.TakeId(ObjectKind.Vcm)),
            "back" => new Back(words.TakeId(ObjectKind.Reservation), words.TakeId(ObjectKind.Memory)),
            "unback" => new Unback(words.TakeId(ObjectKind.Reservation)),
            "deassociate" => new Deassociate(words.TakeId(ObjectKind.Association)),
            "activate" => new Activate(words.TakeId(ObjectKind.Association)),
            "deactivate" => new Deactivate(words.TakeId(ObjectKind.Association)),
            "translate" => new Translate(words.TakeId(ObjectKind.Vcm), words.TakeAddress()),
            "read" => new DeviceAccess(words.TakeId(ObjectKind.Device), words.TakeAddress(), Permissions.Read),
            "write" => new DeviceAccess(words.TakeId(ObjectKind.Device), words.TakeAddress(), Permissions.Write),
            _ => throw words.Expected("an operation"),
        };
    }

    private static Operation ParseMaking(ObjectId made, Words words)
    {
        string verb = words.Take("an operation");
        ObjectKind makes = verb switch
        {
            "vcm" => ObjectKind.Vcm,
            "reserve" or "reserve-at" => ObjectKind.Reservation,
            "allocate" => ObjectKind.Memory,
            "associate" => ObjectKind.Association,
            _ => throw words.Expected("vcm, reserve, reserve-at, allocate or associate"),
        };
        if (made.Kind != makes) throw words.Expected($"a name that begins with {(char)makes} for what {verb} makes");
        return verb switch
        {
            "vcm" => new CreateVcm(made, words.TakeRange()),
            "reserve" => TakeReserve(made, words),
            "reserve-at" => new ReserveAt(made, words.TakeId(ObjectKind.Vcm), words.TakeAddress(), words.TakeSize(), words.TakePermissions()),
            "allocate" => TakeAllocate(made, words),
            _ => new Associate(made, words.TakeId(ObjectKind.Vcm), words.TakeId(ObjectKind.Device)),
        };
    }

    private static Reserve TakeReserve(ObjectId made, Words words)
    {
        ObjectId vcm = words.TakeId(ObjectKind.Vcm);
        ulong byteCount = words.TakeSize();
        Permissions permissions = words.TakePermissions();
        words.Take("align", "align");
        return new(made, vcm, byteCount, permissions, words.TakeSize());
    }

    private static AllocateMemory TakeAllocate(ObjectId made, Words words)
    {
        ulong byteCount = words.TakeSize();
        words.Take("of", "of");
        return new(made, byteCount, words.TakeSizes(), words.TryTake("scattered"));
    }

    private static string Write(Permissions permissions) => permissions switch
    {
        Permissions.None => "none",
        Permissions.Read => "r",
        Permissions.Write => "w",
        _ => "rw",
    };

    private static string Sizes(ulong sizes)
    {
        if (sizes == 0) return "nothing";
        var parts = new List<string>();
        for (ulong rest = sizes; rest != 0; rest &= rest - 1) parts.Add(Size(rest & unchecked(0 - rest)));
        return string.Join("|", parts);
    }
}
