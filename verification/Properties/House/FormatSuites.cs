using Properties.Library;
using Properties.Tables;
using Vcmm.Tables;

namespace Properties.House;

/// <summary>Who writes a format owes it a contract suite.</summary>
public sealed class FormatSuites
{
    [Fact]
    public void Every_format_has_its_contract_suites()
    {
        Type[] types = [.. typeof(IPageTableFormat).Assembly.GetTypes(), .. typeof(OddFormat).Assembly.GetTypes()];
        // All bits of the breaking one are those of the second stage of VT-d.
        string[] formats = [.. types.Where(type => type.IsValueType && type.IsAssignableTo(typeof(IPageTableFormat)) && type != typeof(BreakingFormat)).Select(type => type.Name).Order(StringComparer.Ordinal)];
        Assert.True(formats.Length >= 3);
        Assert.Equal(formats, Subjects(types, typeof(FormatContract<>)));
        Assert.Equal(formats, Subjects(types, typeof(TableContract<>)));
    }

    private static string[] Subjects(Type[] types, Type suite) =>
    [
        .. types.Where(type => !type.IsAbstract && type.BaseType is { IsGenericType: true } parent && parent.GetGenericTypeDefinition() == suite)
            .Select(type => type.BaseType!.GetGenericArguments()[0].Name)
            .Distinct()
            .Order(StringComparer.Ordinal),
    ];
}
