using System.Reflection;
using Platform;
using Vcmm;
using Vcmm.Tables;

namespace Properties.Library.Regions;

/// <summary>
/// The sister of <see cref="HostileLaws"/> for the parts that need no manager: whatever number, address, range or handle is handed in, the
/// call succeeds, or it refuses and nothing has changed. What each row calls is in <see cref="ThinHostileRows"/>.
/// </summary>
[Collection(QuickFirst.Last + nameof(ThinHostileLaws))]
public sealed class ThinHostileLaws : IDisposable
{
    private readonly RamBlock _ram = new(PhysRange.FromLength(new(1UL << 20), 2UL << 20));

    public static TheoryData<string> Members => new(ThinHostileRows.All.Keys);

    public void Dispose() => _ram.Dispose();

    [Theory]
    [MemberData(nameof(Members))]
    public void Every_entry_point_refuses_nonsense_and_changes_nothing(string member)
    {
        var trial = new Trial(_ram);
        ThinHostileRows.All[member](trial);
        Assert.True(trial.Refused > 0 || ThinHostileRows.RefuseNothing.Contains(member), $"{member} refused nothing of {trial.Done} calls");
        Assert.True(trial.Refused + trial.Done > 3, $"{member} was hardly called");
    }

    /// <summary>So that what is new and takes a number does not go unasked.</summary>
    [Fact]
    public void Every_public_method_that_takes_a_number_a_range_or_a_handle_is_called_with_hostile_ones()
    {
        string[] members = [.. typeof(VcmManager).Assembly.GetExportedTypes().Where(IsAsked).SelectMany(MembersOf).Distinct()];
        string[] unnamed = [.. members.Where(member => !ThinHostileRows.All.ContainsKey(member) && !Excused.Keys.Any(excused => IsNamedBy(member, excused)))];
        Assert.True(unnamed.Length == 0, $"no row in {nameof(ThinHostileRows)} for {string.Join(", ", unnamed)}");
        Assert.All(Excused.Keys, excused => Assert.Contains(members, member => IsNamedBy(member, excused)));
        Assert.True(members.Length > 60, $"{members.Length} members");
    }

    /// <summary>What has no row, and why. A name that ends in a dot is all of a type.</summary>
    private static readonly Dictionary<string, string> Excused = new()
    {
        ["VtdDriver."] = "its numbers come through a manager or a domain, which refuse first; what it refuses itself is in VtdDriverLaws and VtdScalableDeviceLaws",
        ["VcmManager..ctor"] = "takes no number; what it refuses is in RefusalLaws",
    };

    private static bool IsNamedBy(string member, string excused) => excused.EndsWith('.') ? member.StartsWith(excused, StringComparison.Ordinal) : member == excused;

    /// <summary>
    /// Not asked are interfaces (their implementations are), values that hold what they are given, and formats, which are functions of bits
    /// and have a contract suite.
    /// </summary>
    private static bool IsAsked(Type type) =>
        !type.IsInterface && !type.IsEnum && !type.IsSubclassOf(typeof(Exception)) && !typeof(IPageTableFormat).IsAssignableFrom(type)
        && (HostileLaws.AllTypes.Contains(type) || type.GetMethod("PrintMembers", BindingFlags.NonPublic | BindingFlags.Instance) is null);

    private static IEnumerable<string> MembersOf(Type type)
    {
        const BindingFlags declared = BindingFlags.Public | BindingFlags.Instance | BindingFlags.Static | BindingFlags.DeclaredOnly;
        // The methods of these are called by HostileLaws, which finds them by itself.
        IEnumerable<MethodBase> methods = HostileLaws.AllTypes.Contains(type)
            ? []
            : type.GetMethods(declared).Where(method => !method.IsSpecialName && method.Name is not ("Equals" or "GetHashCode"));
        string name = type.Name.Split('`')[0];
        if (type == typeof(IdentityTable)) name = "PageTable";
        return methods.Concat(type.IsValueType ? [] : type.GetConstructors()).Where(TakesSomething).Select(method => $"{name}.{method.Name}");
    }

    private static bool TakesSomething(MethodBase method) => method.GetParameters().Any(parameter => !parameter.IsOut && IsHostile(parameter.ParameterType));

    private static bool IsHostile(Type type)
    {
        if (type.HasElementType) return IsHostile(type.GetElementType()!);
        if (type.IsGenericType && type.Namespace == "System") return type.GetGenericArguments().Any(IsHostile);
        return (type.IsPrimitive && type != typeof(bool)) || type.Assembly == typeof(Iova).Assembly || type.Assembly == typeof(VcmManager).Assembly;
    }

    [Fact]
    public void The_harness_sees_a_call_that_changes_something_and_refuses()
    {
        var trial = new Trial(_ram);
        Assert.ThrowsAny<Xunit.Sdk.XunitException>(() => trial.Try("a half", world =>
        {
            world.Domains[0].Unmap(IovaRange.FromLength(new(16 * ThinHostileWorld.Page), ThinHostileWorld.Page));
            return VcmmError.Invalid;
        }));
        Assert.ThrowsAny<Xunit.Sdk.XunitException>(() => new Trial(_ram).Try("an overflow", _ => throw new OverflowException()));
    }
}

/// <summary>Calls one after the other on a world that is made anew when one of them has changed it.</summary>
internal sealed class Trial
{
    private readonly RamBlock _ram;
    private readonly string _picture;

    public Trial(RamBlock ram)
    {
        _ram = ram;
        World = new(ram);
        _picture = World.Picture;
    }

    public ThinHostileWorld World { get; private set; }

    public int Refused { get; private set; }

    public int Done { get; private set; }

    /// <summary>A call that answers with a code, and the call that throws it.</summary>
    public void Try(string said, Func<ThinHostileWorld, VcmmError> call) => Run(said, world => call(world) == VcmmError.None, typeof(ArgumentNullException));

    /// <summary>A call that answers with a code, or with an exception that its documentation names.</summary>
    public void TryOr<TException>(string said, Func<ThinHostileWorld, VcmmError> call)
        where TException : Exception => Run(said, world => call(world) == VcmmError.None, typeof(TException), typeof(ArgumentNullException));

    /// <summary>A call that refuses by throwing: <see cref="VcmmException"/>, or what its documentation names.</summary>
    public void Do(string said, Action<ThinHostileWorld> call, params Type[] documented) => Run(
        said,
        world =>
        {
            call(world);
            return true;
        },
        [typeof(VcmmException), typeof(ArgumentNullException), .. documented]);

    /// <summary>A call that only answers: it may say what it likes, and changes nothing.</summary>
    public void Ask(string said, Action<ThinHostileWorld> call, params Type[] documented)
    {
        Do(said, call, documented);
        Assert.True(_picture == World.Picture, $"{said} changed something");
    }

    private void Run(string said, Func<ThinHostileWorld, bool> call, params Type[] documented)
    {
        bool isDone = false;
        string outcome = "";
        try
        {
            isDone = call(World);
        }
        catch (Exception exception) when (exception is not Xunit.Sdk.XunitException)
        {
            Assert.True(Array.Exists(documented, type => type.IsInstanceOfType(exception)), $"{said} threw {exception}");
            outcome = exception.Message;
        }

        string after = World.Picture;
        if (isDone) Done++;
        else Refused++;
        if (after == _picture) return;
        Assert.True(isDone, $"{said} was refused ({outcome}) and changed{Environment.NewLine}{_picture}{Environment.NewLine}to{Environment.NewLine}{after}");
        World = new(_ram);
        Assert.Equal(_picture, World.Picture);
    }
}
