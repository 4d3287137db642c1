using System.Reflection;
using Platform;
using Vcmm;
using Vcmm.Allocation;

namespace Properties.Library.Regions;

/// <summary>
/// Whatever is handed to a public entry point, it succeeds, or it refuses and nothing has changed. Null, where null is not an
/// answer, is an <see cref="ArgumentNullException"/>. A method that is new takes part by itself; a parameter of a new type needs values
/// in <see cref="HostileWorld"/>.
/// </summary>
[Collection(QuickFirst.Last + nameof(HostileLaws))]
public sealed class HostileLaws : IDisposable
{
    private const BindingFlags Declared = BindingFlags.Public | BindingFlags.Instance | BindingFlags.DeclaredOnly;

    private static readonly NullabilityInfoContext Nullability = new();

    private readonly RamBlock _ram = new(PhysRange.FromLength(new(1UL << 20), 1UL << 20));

    private static readonly Type[] Types =
        [typeof(VcmManager), typeof(Vcm), typeof(Bound), typeof(Reservation), typeof(PhysicalAllocation), typeof(Association), typeof(Device)];

    /// <summary>Every type whose methods are called with values by the types of their parameters.</summary>
    internal static readonly Type[] AllTypes = [.. Types, typeof(FrameAllocator), typeof(RangeAllocator), typeof(CachedRangeAllocator)];

    public static TheoryData<Type> Objects => new(AllTypes);

    public void Dispose() => _ram.Dispose();

    [Theory]
    [MemberData(nameof(Objects))]
    public void Every_entry_point_refuses_nonsense_and_changes_nothing(Type type)
    {
        var counts = new Dictionary<string, int>();
        var world = new HostileWorld(_ram);
        string picture = world.Picture;
        foreach (MethodInfo method in MethodsOf(type))
        {
            int refused = 0;
            int receivers = world.Receivers[type].Length;
            for (int receiver = 0; receiver < receivers; receiver++)
            {
                foreach (int[] choice in Choices(world, method, pairs: receiver == 0))
                {
                    if (!Call(world, picture, method, receiver, choice)) refused++;
                    if (world.Picture == picture) continue;
                    world = new(_ram);
                    Assert.Equal(picture, world.Picture);
                }
            }

            counts[method.Name] = refused;
        }

        // A call that can be refused was, as often as there are ways to.
        Assert.All(counts.Where(entry => entry.Key.StartsWith("Try", StringComparison.Ordinal) && entry.Key is not "TryFlush"), entry => Assert.True(entry.Value > 0, entry.Key));
    }

    /// <summary>States that no single call leads to.</summary>
    [Fact]
    public void Nonsense_after_nonsense_is_refused_too()
    {
        MethodInfo[] methods = [.. Types.SelectMany(MethodsOf)];
        var random = new Random(20251125);
        int refused = 0, done = 0;
        for (int round = 0; round < 60; round++)
        {
            var world = new HostileWorld(_ram);
            for (int step = 0; step < 60; step++)
            {
                MethodInfo method = methods[random.Next(methods.Length)];
                ParameterInfo[] parameters = method.GetParameters();
                int[] choice = [.. parameters.Select(parameter => parameter.IsOut ? 0 : random.Next(world.Values[parameter.ParameterType].Length))];
                if (Call(world, world.Picture, method, random.Next(world.Receivers[method.DeclaringType!].Length), choice)) done++;
                else refused++;
            }
        }

        Assert.True(refused > 500 && done > 500, $"{refused} refused, {done} done");
    }

    [Fact]
    public void The_harness_sees_a_method_that_changes_something_and_refuses()
    {
        var world = new HostileWorld(_ram);
        string picture = world.Picture;
        world.Region.Reserve(VcmManager.PageBytes);
        Assert.NotEqual(picture, world.Picture);
    }

    private static IEnumerable<MethodInfo> MethodsOf(Type type) =>
        type.GetMethods(Declared).Where(method => method.Name is not ("Equals" or "GetHashCode")).OrderBy(method => method.ToString(), StringComparer.Ordinal);

    /// <summary>Which value each parameter has: one at a time is not the first, or two are.</summary>
    private static IEnumerable<int[]> Choices(HostileWorld world, MethodInfo method, bool pairs)
    {
        ParameterInfo[] parameters = method.GetParameters();
        int[] counts = [.. parameters.Select(parameter => parameter.IsOut ? 1 : CountOf(world, method, parameter))];
        yield return new int[counts.Length];
        for (int i = 0; i < counts.Length; i++)
        {
            for (int value = 1; value < counts[i]; value++)
            {
                int[] choice = new int[counts.Length];
                choice[i] = value;
                yield return choice;
                for (int j = i + 1; pairs && j < counts.Length; j++)
                {
                    for (int other = 1; other < counts[j]; other++)
                    {
                        int[] both = [.. choice];
                        both[j] = other;
                        yield return both;
                    }
                }
            }
        }
    }

    private static int CountOf(HostileWorld world, MethodInfo method, ParameterInfo parameter)
    {
        Assert.True(world.Values.ContainsKey(parameter.ParameterType), $"{method} has a parameter of type {parameter.ParameterType}, for which there are no values");
        return world.Values[parameter.ParameterType].Length;
    }

    /// <returns>Whether it was done; false: it was refused, in one of the ways there are.</returns>
    private static bool Call(HostileWorld world, string before, MethodInfo method, int receiver, int[] choice)
    {
        ParameterInfo[] parameters = method.GetParameters();
        object?[] arguments = [.. parameters.Select((parameter, i) => parameter.IsOut ? null : world.Values[parameter.ParameterType][choice[i]])];
        object target = world.Receivers[method.DeclaringType!][receiver];
        bool hasNull = parameters.Where((parameter, i) => !parameter.IsOut && arguments[i] is null && !MayBeNull(parameter)).Any();
        string said = $"{method.DeclaringType!.Name} ({target}).{method.Name}({string.Join(", ", arguments.Select(argument => argument ?? "null"))})";
        Exception? thrown = null;
        object? result = null;
        try
        {
            result = method.Invoke(target, arguments);
        }
        catch (TargetInvocationException exception)
        {
            thrown = exception.InnerException;
        }

        bool isAllowed = thrown switch
        {
            null => true,
            ArgumentNullException => hasNull,
            VcmmException => !method.Name.StartsWith("Try", StringComparison.Ordinal),
            ArgumentOutOfRangeException => method.Name == nameof(PhysicalAllocation.AddressAt),
            _ => false,
        };
        Assert.True(isAllowed, $"{said} threw {thrown}");
        Assert.True(thrown is ArgumentNullException || !hasNull || (method.Name is "TryUnbind" or "Unbind"), $"{said} took null for an answer");
        bool isRefused = thrown is not null || result is VcmmError and not VcmmError.None || result is false;
        if (!isRefused) return true;
        string after = world.Picture;
        if (before != after) Assert.Fail($"{said} was refused ({thrown?.Message ?? result}) and changed{Environment.NewLine}{before}{Environment.NewLine}to{Environment.NewLine}{after}");
        world.AssertSound();
        return false;
    }

    private static bool MayBeNull(ParameterInfo parameter) =>
        parameter.ParameterType.IsValueType || Nullability.Create(parameter).WriteState == NullabilityState.Nullable;
}
