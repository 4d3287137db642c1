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
        { typeof(BareIommu.Tour).Assembly.Location, ["Platform", "IommuSim"] },
        { typeof(Workloads.AllRows).Assembly.Location, ["Platform", "Vcmm", "IommuSim"] },
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

    /// <summary>Values come from <see cref="Harness.Generating.Seeded"/>, since what CsCheck draws by itself is other in each run; and random numbers have a seed.</summary>
    [Fact]
    public void Values_are_drawn_from_seeds()
    {
        string[] banned = ["Check.Sample", "Random.get_Shared"];
        Assert.Empty(Read(typeof(HouseRules).Assembly.Location, MemberReferences).Intersect(banned));
        Assert.Equal(["Check.Sample"], Read(typeof(Harness.Generating.Seeded).Assembly.Location, MemberReferences).Intersect(banned));
    }

    /// <summary>What each call of the contract is in the model, overloads told apart by their parameters; null: the reason stands beside it.</summary>
    internal static readonly Dictionary<string, Type?> Contract = new()
    {
        // Part of the machine: devices are there from the start.
        ["VcmManager.TryAddDevice"] = null,
        ["VcmManager.TryCreateVcm/3"] = typeof(CreateVcm),
        // The same with the defaults.
        ["VcmManager.TryCreateVcm/2"] = null,
        ["VcmManager.TryAdoptVcm"] = typeof(Adopt),
        // The owner of an adopted table calls it in the middle of what changes the table: NotifyingIommu.
        ["Vcm.TryInvalidate"] = null,
        ["VcmManager.TryAllocate/3"] = typeof(AllocateMemory),
        // The same, from any bank.
        ["VcmManager.TryAllocate/4"] = null,
        ["VcmManager.TryAllocateContiguous"] = typeof(AllocateContiguous),
        // Where memory lies is seen from its addresses: BankedFrameProperties.
        ["VcmManager.TryFindBank"] = null,
        ["VcmManager.TryWrap"] = typeof(Wrap),
        ["VcmManager.TryFindMappings"] = typeof(FindMappings),
        ["VcmManager.TryCopy"] = typeof(Copy),
        ["Vcm.TryClone"] = typeof(CloneVcm),
        ["Vcm.TryCreateBound"] = typeof(CreateBound),
        ["Vcm.TryReserve"] = typeof(Reserve),
        ["Vcm.TryReserveAt"] = typeof(ReserveAt),
        ["Vcm.TryMap"] = typeof(Map),
        ["Vcm.TryBind"] = typeof(Bind),
        ["Vcm.TryUnbind"] = typeof(Unbind),
        ["Vcm.TryFindReservation"] = typeof(FindReservation),
        ["Vcm.get_Reservations"] = typeof(ListReservations),
        // The oracle of I1 reads them after every step.
        ["Vcm.get_Bounds"] = null,
        ["Vcm.TryTranslate/2"] = typeof(Translate),
        ["Vcm.TryTranslate/3"] = typeof(TranslateTo),
        // The oracles of I2 and I3 use it after every step.
        ["Vcm.TryGetTable"] = null,
        ["Vcm.TryAssociate/2"] = typeof(Associate),
        ["Vcm.TryAssociate/3"] = typeof(Associate),
        ["Vcm.TryFlush"] = typeof(Flush),
        ["Vcm.TryFree"] = typeof(FreeVcm),
        ["Bound.TryReserve"] = typeof(Reserve),
        ["Bound.TryReserveAt"] = typeof(ReserveAt),
        ["Bound.TryFree"] = typeof(FreeBound),
        ["Reservation.TryBack/1"] = typeof(Back),
        ["Reservation.TryBack/4"] = typeof(BackPart),
        ["Reservation.TryUnback/0"] = typeof(Unback),
        ["Reservation.TryUnback/2"] = typeof(UnbackPart),
        ["Reservation.TrySetAttributes"] = typeof(SetAttributes),
        ["Reservation.TryCollectDirty"] = typeof(CollectUse),
        ["Reservation.TryCollectAccessed"] = typeof(CollectUse),
        ["Reservation.TryAcquire"] = typeof(Acquire),
        ["Reservation.TryRelease"] = typeof(Release),
        ["Reservation.TryUnreserve"] = typeof(Unreserve),
        ["Reservation.TryUnmap"] = typeof(Unmap),
        ["PhysicalAllocation.TryFree"] = typeof(FreeMemory),
        ["Association.TryActivate"] = typeof(Activate),
        ["Association.TryDeactivate"] = typeof(Deactivate),
        ["Association.TrySetOptions"] = typeof(ChangeAssociation),
        ["Association.TryDeassociate"] = typeof(Deassociate),
        ["Device.TryPassThrough"] = typeof(PassThrough),
        ["Device.TryEndPassThrough"] = typeof(EndPassThrough),
        ["Association.TryInvalidate"] = typeof(GuestInvalidate),
    };

    [Fact]
    public void Every_call_of_the_contract_is_an_operation_of_the_model()
    {
        Type[] objects =
        [
            typeof(Vcmm.VcmManager), typeof(Vcmm.Vcm), typeof(Vcmm.Bound), typeof(Vcmm.Reservation), typeof(Vcmm.PhysicalAllocation), typeof(Vcmm.Association), typeof(Vcmm.Device),
        ];
        string[] calls =
        [
            .. objects.SelectMany(type => type.GetMethods(BindingFlags.Public | BindingFlags.Instance | BindingFlags.DeclaredOnly)
                .Where(method => method.Name.StartsWith("Try", StringComparison.Ordinal) || method.Name is "get_Reservations" or "get_Bounds")
                .GroupBy(method => method.Name)
                .SelectMany(overloads => overloads.Select(method =>
                    overloads.Count() == 1 ? $"{type.Name}.{method.Name}" : $"{type.Name}.{method.Name}/{method.GetParameters().Length}"))),
        ];
        Assert.Equal(Contract.Keys.Order(StringComparer.Ordinal), calls.Order(StringComparer.Ordinal));
        // What devices, cores and guests do is no call of the library, nor is what time does; polling is the flush queue's, and faults refuse nothing.
        Type[] expected =
        [
            .. Contract.Values.OfType<Type>().Distinct(), typeof(DeviceAccess), typeof(CrossingAccess), typeof(CoreAccess), typeof(GoIdle), typeof(AdvanceTime), typeof(PollFlush), typeof(SetFaultHook), typeof(DispatchFaults),
            typeof(CreateGuest), typeof(GuestMap), typeof(GuestUnmap),
        ];
        Type[] operations = [.. SpecRoom.GetTypes().Where(type => type.IsSubclassOf(typeof(Operation)))];
        Assert.Equal(expected.Select(type => type.Name).Order(StringComparer.Ordinal), operations.Select(type => type.Name).Order(StringComparer.Ordinal));
    }

    /// <summary>The runner turns the one into the other by their numbers.</summary>
    [Fact]
    public void Outcomes_and_permissions_of_the_model_are_the_librarys()
    {
        // No call waits; a device's access may.
        Assert.Equal(Enum.GetValues<Vcmm.VcmmError>().Select(error => $"{(int)error} {error}"), Enum.GetValues<Outcome>().Where(static outcome => outcome != Outcome.Waits).Select(outcome => $"{(int)outcome} {outcome}"));
        Assert.Equal(Enum.GetValues<Vcmm.Access>().Select(access => $"{(int)access} {access}"), Enum.GetValues<Permissions>().Select(granted => $"{(int)granted} {granted}"));
        Assert.Equal(Enum.GetValues<Vcmm.CachePolicy>().Select(policy => $"{(int)policy} {policy}"), Enum.GetValues<CachePolicy>().Select(policy => $"{(int)policy} {policy}"));
        Assert.Equal(Enum.GetValues<Vcmm.VcmKind>().Select(kind => $"{(int)kind} {kind}"), Enum.GetValues<VcmKind>().Select(kind => $"{(int)kind} {kind}"));
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
