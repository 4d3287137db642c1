using System.Reflection;
using System.Reflection.Metadata;
using System.Reflection.PortableExecutable;
using Platform;
using Vcmm.Spec;

namespace Properties.House;

/// <summary>
/// The rules that make the rooms worth having, read from the compiled assemblies. Not for mutated ones: what the mutation puts
/// into an assembly keeps no rule, so that every mutant would seem killed.
/// </summary>
[Trait("Category", "House")]
public sealed class HouseRules
{
    private static readonly Assembly PlatformRoom = typeof(PhysAddr).Assembly;
    private static readonly Assembly LibraryRoom = typeof(Vcmm.VcmManager).Assembly;
    private static readonly Assembly SimulatorRoom = typeof(IommuSim.VtdTables).Assembly;
    private static readonly Assembly SpecRoom = typeof(Invariant).Assembly;

    /// <summary>A room, and all of ours that it may know.</summary>
    public static TheoryData<string, string[]> MayKnow => new()
    {
        { PlatformRoom.Location, [] },
        { SpecRoom.Location, [] },
        { LibraryRoom.Location, ["Platform"] },
        { SimulatorRoom.Location, ["Platform"] },
    };

    public static TheoryData<string> ShippedRooms => [PlatformRoom.Location, SpecRoom.Location, LibraryRoom.Location, SimulatorRoom.Location];

    [Theory]
    [MemberData(nameof(MayKnow))]
    public void A_room_knows_only_the_runtime_and_the_rooms_below_it(string room, string[] below)
    {
        string[] known = [.. Read(room, AssemblyReferences).Where(name => !name.StartsWith("System.", StringComparison.Ordinal))];
        Assert.Empty(known.Except(below));
    }

    [Theory]
    [MemberData(nameof(ShippedRooms))]
    public void What_a_controlled_schedule_cannot_see_is_not_used(string room)
    {
        string[] banned =
        [
            "System.Threading.Lock", "System.Threading.ReaderWriterLockSlim", "System.Threading.SpinLock", "System.Threading.Timer",
            "System.Timers.Timer",
        ];
        Assert.Empty(Read(room, TypeReferences).Intersect(banned));
        Assert.Empty(Read(room, MemberReferences).Intersect(["Thread.Sleep", "Task.Delay", "DateTime.get_Now", "DateTime.get_UtcNow", "Random.get_Shared"]));
    }

    [Fact]
    public void The_rules_see_what_they_forbid()
    {
        string self = typeof(HouseRules).Assembly.Location;
        Assert.Contains("Vcmm", Read(self, AssemblyReferences));
        Assert.Contains("IommuSim", Read(self, AssemblyReferences));
        Assert.Contains("System.Reflection.Assembly", Read(self, TypeReferences));
        Assert.Contains("Assembly.get_Location", Read(self, MemberReferences));
    }

    private static IReadOnlyList<string> Read(string file, Func<MetadataReader, IEnumerable<string>> what)
    {
        using var stream = File.OpenRead(file);
        using var assembly = new PEReader(stream);
        return [.. what(assembly.GetMetadataReader())];
    }

    private static IEnumerable<string> AssemblyReferences(MetadataReader reader) =>
        reader.AssemblyReferences.Select(handle => reader.GetString(reader.GetAssemblyReference(handle).Name));

    private static IEnumerable<string> TypeReferences(MetadataReader reader) =>
        reader.TypeReferences.Select(handle => reader.GetTypeReference(handle))
            .Select(type => $"{reader.GetString(type.Namespace)}.{reader.GetString(type.Name)}");

    private static IEnumerable<string> MemberReferences(MetadataReader reader) =>
        from handle in reader.MemberReferences
        let member = reader.GetMemberReference(handle)
        where member.Parent.Kind == HandleKind.TypeReference
        let type = reader.GetTypeReference((TypeReferenceHandle)member.Parent)
        select $"{reader.GetString(type.Name)}.{reader.GetString(member.Name)}";
}
